// Which inputs of a block are used: all, or those that are not zero.
//
// The header of integer arithmetic that comes next (integers_<name>.h) works on them. It gives
//   Activation, Code, kGroup    what a dot product takes: kGroup codes and activations
//   kSignedCodes                codes of 8 bits are taken less 128, and so with sign
//   not_zero_activations        a bit for each of a block's 32 that is not zero
//   dot_inputs<bits>            64 outputs of one row, straight from packed codes
//   group_codes<bits>           a block of 64 outputs to the places that code_offset names
//   IntTile                     the register tile over such codes, see int_tile-inl.h
//   difference                  16 sums, less one number, as floats
//   store_rounded               a vector as activations; returns their sum

// Inputs of a block that take part, in order.
struct Inputs {
  uint8_t index[kBlockInputs + 4];  // 4 more, so that groups of 2 or 4 may be read
  int count;
};

constexpr Inputs all_inputs(int from, int to) {
  Inputs inputs = {};
  for (int i = from; i < to; ++i) inputs.index[inputs.count++] = uint8_t(i);
  return inputs;
}
constexpr Inputs kAllInputs = all_inputs(0, 32), kNoInputs = all_inputs(0, 0);
constexpr Inputs kFirst16 = all_inputs(0, 16), kLast16 = all_inputs(16, 32);

// From one bit an input.
ANSER_INLINE void list_inputs(uint32_t bits, Inputs& inputs) {
  inputs.count = 0;
  for (; bits != 0; bits &= bits - 1) inputs.index[inputs.count++] = uint8_t(__builtin_ctz(bits));
  for (int i = 0; i < 4; ++i) inputs.index[inputs.count + i] = 0;
}

// Bits of the first n inputs of a block that are not zero. NaN is not.
ANSER_INLINE uint32_t not_zero(const float* x, int n) {
  if (n == kBlockInputs)
    return not_zero_lanes(load(x)) | not_zero_lanes(load(x + kLanes)) << kLanes;
  uint32_t bits = 0;
  for (int i = 0; i < n; ++i) bits |= uint32_t(x[i] != 0) << i;
  return bits;
}

// Codes of a chunk of a tile for many rows, in the order in which register tiles read them:
// [pass][input / group][kIntTileVecs][16 outputs][group]. Where those of 16 outputs, vector v of
// the tile, and of the `group` inputs from k on are.
constexpr int code_offset(int k, int v, int group) {
  const int pass = v / kIntTileVecs, in_pass = v % kIntTileVecs;
  return ((pass * kChunk + k) * kIntTileVecs + in_pass * group) * kLanes;
}
