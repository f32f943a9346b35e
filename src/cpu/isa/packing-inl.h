// The layout of packed matrices, cpu/packed.h, in numbers. A text for nameless namespaces, so that
// the instruction-set files may use its functions.

constexpr int kTile = 64;         // outputs that are computed together, and that threads divide
constexpr int kPanel = 256;       // outputs whose weights lie together; the last panel is narrower
constexpr int kBlockInputs = 32;  // inputs of a block
constexpr int kSuperBlocks = 8;   // blocks that share a super-scale
constexpr int kChunk = 256;       // inputs whose products are summed apart, in fp32 types

struct Packing {
  int code_bits;    // of a weight: 32 and 16 are plain numbers, 8, 6 and 4 codes
  int zero;         // the code that means 0
  int scale_bytes;  // per output of a block
  int super_bytes;  // per output of eight blocks
  bool minimum;     // weights have a minimum, too
  constexpr int halves() const { return zero == 32 ? 2 : 1; }  // scales of a block: Q6_K has two
  // Bytes of an output in one block.
  constexpr int block_bytes() const { return scale_bytes + kBlockInputs * code_bits / 8; }
  constexpr int64_t output_bytes(int inputs) const {
    const int blocks = (inputs + kBlockInputs - 1) / kBlockInputs;
    return int64_t{blocks} * block_bytes() +
           int64_t{(blocks + kSuperBlocks - 1) / kSuperBlocks} * super_bytes;
  }
};

constexpr Packing packing_of(DType type) {
  switch (type) {
    case DType::f16:
    case DType::bf16:
      return {16, 0, 0, 0, false};
    case DType::q8_0:
      return {8, 128, 2, 0, false};
    case DType::q4_0:
      return {4, 8, 2, 0, false};
    case DType::q4_1:
      return {4, 0, 4, 0, true};
    case DType::q5_0:
      return {6, 16, 2, 0, false};
    case DType::q5_1:
      return {6, 0, 4, 0, true};
    case DType::q4_k:
      return {4, 0, 2, 4, true};
    case DType::q5_k:
      return {6, 0, 2, 4, true};
    case DType::q6_k:
      return {6, 32, 2, 2, false};
    default:
      return {32, 0, 0, 0, false};
  }
}

constexpr int round_up(int n, int multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Where things are for one tile: a panel of `width` outputs, the tile's first output at `at` in it.
// Type is the byte type, const or not.
template <class Byte>
struct PackedTile {
  Packing packing;
  Byte* panel;
  int width, at;

  Byte* super(int block) const { return panel + (block / kSuperBlocks) * super_bytes(); }
  // Of the whole panel.
  int64_t super_bytes() const {
    return (packing.super_bytes + int64_t{kSuperBlocks} * packing.block_bytes()) * width;
  }
  // Its first byte: the scales of the whole panel.
  Byte* block(int block) const {
    return super(block) + int64_t{packing.super_bytes} * width +
           int64_t{block % kSuperBlocks} * packing.block_bytes() * width;
  }
  // Row k of the codes, at this tile's outputs, and the bytes to the next row. Codes of 6 bits have
  // a row of nibbles and after it one of the two high bits.
  Byte* codes(int block_index) const {
    return block(block_index) + int64_t{packing.scale_bytes} * width +
           (packing.code_bits == 6 ? at / 2 : at * packing.code_bits / 8);
  }
  int64_t row_bytes() const { return int64_t{width} * packing.code_bits / 8; }
  // From a tile's nibbles to its high bits.
  int64_t high_bits() const { return width / 2 - at / 2 + at / 4; }
};

template <class Byte>
constexpr PackedTile<Byte> packed_tile(DType type, Byte* data, int inputs, int outputs, int o) {
  const Packing packing = packing_of(type);
  const int first = o / kPanel * kPanel;
  const int left = round_up(outputs, kTile) - first;
  return {packing, data + first * packing.output_bytes(inputs), left < kPanel ? left : kPanel,
          o - first};
}
