// Products of many rows with matrices of codes: y (+)= W x in integers, exact within a group.
//
// A block has 128 outputs and 64 or 128 rows, a warp 64 and a quarter of the rows. Stages of 64
// inputs go through shared memory, where nibbles are bytes and transposed matrices lie as others
// do; while one is multiplied the next is on its way. A stage is two steps of 32 inputs, a tile
// product each (two of 16 where groups are that), whose sums are scaled and added in the order of
// the inputs: a result has the same bits whatever the other rows are, and how many.
//
// What limits it is not the tile products but what follows each of them. Its four sums a lane
// become
//
//   sum += input_scale * (weight_scale * product)  [- minimum * (input_scale * sum of codes)]
//
// Converting integers takes a unit with an eighth of the rate on most devices. Instead products
// begin at the bits of kMagic = 1.5 * 2^23: as long as they are below 2^22 in magnitude (they are
// below 2^19) the bits are those of kMagic + product, and fma(bits, weight_scale, -kMagic *
// weight_scale) is the scaled product, rounded once: weight_scale has 11 bits, so what is
// subtracted is exact. That leaves two multiply-adds for a sum, three with minima.
//
// Reckoned, not measured: what nvcc makes of the loop over stages has 16 instructions a warp (23
// with minima) for a tile product's 8192 operations, 8 (12) of them multiply-adds. At four a cycle
// that is 4.1 (5.6) cycles, more than the 1 or 2 of the tensor cores of H100 or A100: at the most
// 460 (340) TOP/s on an H100 and 280 (200) on an A100, whose fp32 has half the rate. cuBLASLt has
// more in f16 there, but needs a copy of the weights first. On an RTX 4090 tensor cores take 4
// cycles: 640 (460) TOP/s at the most, where f16 with sums in fp32 ends at 165.
#pragma once

#include "cuda/kernels/block.h"
#include "cuda/kernels/codes.h"

namespace anser::cuda {

constexpr int kIntegerOutputs = 128;
// Two warps share the outputs of a block, four its rows. That leaves each so many tiles.
constexpr int kIntegerThreads = 2 * 4 * kWarp;
constexpr int kOutputTiles = kIntegerOutputs / 2 / 16;
constexpr int row_tiles(int rows) {
  return rows / 4 / 8;
}
constexpr int kStageInputs = 64;
constexpr int kStageWords = kStageInputs / 4;  // of an output or a row in a stage, four codes each

// What belongs to the groups of a matrix.
enum class Grouping : uint8_t {
  scales,  // one for 32 inputs
  minima,  // and a minimum
  halves,  // a scale for 16 inputs
};
// Numbers that a stage has for an output: scales of its groups, or scales, then minima.
constexpr int group_numbers(Grouping grouping) {
  return grouping == Grouping::scales ? 2 : 4;
}

// A stage in shared memory: rows of four chunks, 16 codes in four words each. Which place a chunk
// has changes with the row, so that neither those who write nor those who read meet in a bank.
template <int kRows>
struct IntegerStage {
  // Numbers from those of a group to those of the next; with eight more than rows lanes that write
  // four groups of eight rows reach different banks.
  static constexpr int kInputPitch = kRows + 8;
  static constexpr int kFloats =
      (kIntegerOutputs + kRows) * kStageWords + 4 * kIntegerOutputs + 4 * kInputPitch;

  uint32_t *weights, *inputs;  // [outputs], [rows] of kStageWords
  float* weight_numbers;       // [group_numbers()][outputs]
  float* input_numbers;        // [2 groups][scale, scale * sum][kInputPitch]

  __device__ explicit IntegerStage(float* at)
      : weights(reinterpret_cast<uint32_t*>(at)),
        inputs(weights + kIntegerOutputs * kStageWords),
        weight_numbers(at + (kIntegerOutputs + kRows) * kStageWords),
        input_numbers(weight_numbers + 4 * kIntegerOutputs) {}

  // Where a chunk lies. Rows eight apart are alike.
  __device__ static int place(int row, int chunk) {
    return row * kStageWords + (chunk ^ (row & 2) ^ (row >> 2 & 1)) * 4;
  }
  __device__ static void put(uint32_t* of, int row, int chunk, const uint4& words) {
    *reinterpret_cast<uint4*>(of + place(row, chunk)) = words;
  }
};

__device__ inline int at_most(int x, int most) {
  return x < most ? x : most;
}

// How a thread brings pieces of a stage of W, 16 bytes each, and which output a row of the stage
// is. Behind the matrix' end its last ones come again: sums of such outputs go nowhere, and such
// inputs have scales of zero.
//
//   get(W, first_output, stage, piece)   reads a piece
//   put<Stage>(to, piece, words)         writes it to the stage's weights
template <Format F, bool kAcross>
struct WeightPieces;

template <Format F>
struct WeightPieces<F, false> {
  static constexpr bool kBytes = F == Format::bytes;
  static constexpr int kOfOutput = kBytes ? 4 : 2;
  static constexpr int kCount = kIntegerOutputs * kOfOutput;
  __device__ static int output_of(int row) { return row; }

  __device__ static uint4 get(const DeviceMatrix& W, int first_output, int stage, int piece) {
    const int line_pieces = W.stride / (kBytes ? 16 : 32);
    const int output = at_most(first_output + piece / kOfOutput, W.rows - 1);
    const int at = at_most(stage * kOfOutput + piece % kOfOutput, line_pieces - 1);
    return static_cast<const uint4*>(W.codes)[int64_t(output) * line_pieces + at];
  }
  template <class Stage>
  __device__ static void put(uint32_t* to, int piece, const uint4& words) {
    const int row = piece / kOfOutput, part = piece % kOfOutput;
    if constexpr (kBytes) {
      Stage::put(to, row, part, words);
    } else {
      constexpr uint32_t kLow = 0x0f0f0f0f;
      Stage::put(to, row, 2 * part,
                 {words.x & kLow, words.x >> 4 & kLow, words.y & kLow, words.y >> 4 & kLow});
      Stage::put(to, row, 2 * part + 1,
                 {words.z & kLow, words.z >> 4 & kLow, words.w & kLow, words.w >> 4 & kLow});
    }
  }
};

// Transposed, a piece is four neighbouring outputs (eight of nibbles) of four lines. Rows of a
// stage take outputs in turns, so that a piece's go to different quarters.
template <Format F>
struct WeightPieces<F, true> {
  static constexpr bool kBytes = F == Format::bytes;
  static constexpr int kWide = kBytes ? 4 : 8;
  static constexpr int kCount = kStageWords * kIntegerOutputs / kWide;
  // Pieces that neighbouring lanes have side by side: reading likes them, banks do not.
  static constexpr int kBeside = 4;
  __device__ static int output_of(int row) {
    return row % (kIntegerOutputs / 4) * 4 + row / (kIntegerOutputs / 4);
  }
  __device__ static int word_of(int piece) { return piece / kBeside % kStageWords; }
  __device__ static int output_of_piece(int piece) {
    return (piece / (kBeside * kStageWords) * kBeside + piece % kBeside) * kWide;
  }

  __device__ static uint4 get(const DeviceMatrix& W, int first_output, int stage, int piece) {
    const int pitch = W.stride / kWide;
    const int at = at_most((first_output + output_of_piece(piece)) / kWide, pitch - 1);
    const int line = at_most(stage * kStageInputs + 4 * word_of(piece), W.cols - 4);
    const uint32_t* from = static_cast<const uint32_t*>(W.codes) + int64_t(line) * pitch + at;
    return {from[0], from[pitch], from[2 * pitch], from[3 * pitch]};
  }
  template <class Stage>
  __device__ static void put(uint32_t* to, int piece, const uint4& lines) {
    const int row = output_of_piece(piece) / 4, word = word_of(piece);
    const auto columns = [&](int row, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
      const uint32_t ab = pick_bytes(a, b, 0x5140), cd = pick_bytes(c, d, 0x5140);
      const uint32_t AB = pick_bytes(a, b, 0x7362), CD = pick_bytes(c, d, 0x7362);
      constexpr int kQuarter = kIntegerOutputs / 4 * kStageWords;
      uint32_t* at = to + Stage::place(row, word / 4) + word % 4;
      at[0] = pick_bytes(ab, cd, 0x5410);
      at[kQuarter] = pick_bytes(ab, cd, 0x7632);
      at[2 * kQuarter] = pick_bytes(AB, CD, 0x5410);
      at[3 * kQuarter] = pick_bytes(AB, CD, 0x7632);
    };
    if constexpr (kBytes) {
      columns(row, lines.x, lines.y, lines.z, lines.w);
    } else {
      constexpr uint32_t kLow = 0x0f0f0f0f;
      columns(row, lines.x & kLow, lines.y & kLow, lines.z & kLow, lines.w & kLow);
      columns(row + 1, lines.x >> 4 & kLow, lines.y >> 4 & kLow, lines.z >> 4 & kLow,
              lines.w >> 4 & kLow);
    }
  }
};

// What a thread has in registers of the stage that is on its way.
template <Format F, bool kAcross, Grouping kGrouping, int kRows>
struct IntegerPieces {
  using Weights = WeightPieces<F, kAcross>;
  static constexpr int kThreads = kIntegerThreads;
  static constexpr int kNumbers = group_numbers(kGrouping) * kIntegerOutputs;
  static constexpr int kOfInputs = 4 * kRows / kThreads;  // pieces, and numbers of their groups

  uint4 weights[(Weights::kCount + kThreads - 1) / kThreads];
  uint16_t numbers[(kNumbers + kThreads - 1) / kThreads];
  uint4 inputs[kOfInputs];
  float input_numbers[kOfInputs];

  __device__ void get_weights(const DeviceMatrix& W, int first_output, int stage) {
    int piece = int(threadIdx.x);
#pragma unroll
    for (uint4& words : weights) {
      if (piece < Weights::kCount) words = Weights::get(W, first_output, stage, piece);
      piece += kThreads;
    }
    int at = int(threadIdx.x);
#pragma unroll
    for (uint16_t& number : numbers) {
      if (at < kNumbers) number = get_number(W, first_output, stage, at);
      at += kThreads;
    }
  }
  __device__ static uint16_t get_number(const DeviceMatrix& W, int first_output, int stage,
                                        int at) {
    constexpr bool kHalves = kGrouping == Grouping::halves;
    const int output = at_most(first_output + Weights::output_of(at % kIntegerOutputs), W.rows - 1);
    const int which = at / kIntegerOutputs;
    const int group = kHalves ? stage * 4 + which : stage * 2 + which % 2;
    const int groups = W.cols / (kHalves ? 16 : 32);
    const uint16_t* from = kHalves || which < 2 ? W.scales : W.minima;
    from += kAcross ? output : int64_t(output) * groups;
    return group < groups ? from[int64_t(group) * (kAcross ? W.stride : 1)] : uint16_t(0);
  }
  __device__ void get_inputs(const CodedRows& x, int width, int first_row, int rows, int stage) {
    const int part = int(threadIdx.x) % 4, chunks = width / 16, groups = width / kCodeGroup;
    const int chunk = at_most(stage * 4 + part, chunks - 1);
    const int group = at_most(stage * 2 + part / 2, groups - 1);
    const auto* codes = reinterpret_cast<const uint4*>(x.codes);
    const auto* numbers = reinterpret_cast<const float*>(x.scales) + part % 2;
#pragma unroll
    for (int i = 0; i < kOfInputs; ++i) {
      const int row = at_most(first_row + (int(threadIdx.x) + i * kThreads) / 4, rows - 1);
      inputs[i] = codes[int64_t(row) * chunks + chunk];
      input_numbers[i] = numbers[2 * (int64_t(row) * groups + group)];
    }
  }

  __device__ void put(const IntegerStage<kRows>& to) const {
    using Stage = IntegerStage<kRows>;
    int piece = int(threadIdx.x);
#pragma unroll
    for (const uint4& words : weights) {
      if (piece < Weights::kCount) {
        Weights::template put<Stage>(to.weights, piece, words);
      }
      piece += kThreads;
    }
    int at = int(threadIdx.x);
#pragma unroll
    for (const uint16_t number : numbers) {
      if (at < kNumbers) to.weight_numbers[at] = from_f16(number);
      at += kThreads;
    }
    const int part = int(threadIdx.x) % 4;
    int row = int(threadIdx.x) / 4;
#pragma unroll
    for (int i = 0; i < kOfInputs; ++i) {
      Stage::put(to.inputs, row, part, inputs[i]);
      to.input_numbers[part * Stage::kInputPitch + row] = input_numbers[i];
      row += kThreads / 4;
    }
  }
};

constexpr float kMagic = 12582912;  // 1.5 * 2^23
constexpr int kMagicBits = 0x4b400000;

// What a lane's two outputs of each tile have of one group: a scale, or a minimum.
struct OutputNumbers {
  float of[kOutputTiles][2];
  __device__ void read(const float* numbers) {
    const int g = int(threadIdx.x) % kWarp / 4;
#pragma unroll
    for (int m = 0; m < kOutputTiles; ++m) {
      of[m][0] = numbers[16 * m + g];
      of[m][1] = numbers[16 * m + 8 + g];
    }
  }
};

// sum += scale * (weight_scale * product), of a tile: rows g and g + 8 are outputs.
__device__ inline void add_scaled(float (&sum)[4], const int (&product)[4],
                                  const float (&weight_scale)[2], float2 scale) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float w = weight_scale[i / 2];
    const float scaled = fmaf(from_bits(uint32_t(product[i])), w, -kMagic * w);
    sum[i] = fmaf(scaled, i % 2 == 0 ? scale.x : scale.y, sum[i]);
  }
}

// A warp's part of a stage: its outputs and rows begin where it says.
template <Grouping kGrouping, int kRows>
__device__ void multiply_stage(const IntegerStage<kRows>& stage, int outputs, int rows,
                               float (&sum)[kOutputTiles][row_tiles(kRows)][4]) {
  using Stage = IntegerStage<kRows>;
  constexpr bool kHalves = kGrouping == Grouping::halves;
  const int g = int(threadIdx.x) % kWarp / 4, t = int(threadIdx.x) % 4;
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    // A lane's words are number t of the step's two chunks. One by one they come to the registers
    // where tile products want them.
    const int low = Stage::place(g, 2 * step) + t, high = Stage::place(g, 2 * step + 1) + t;
    uint32_t w[kOutputTiles][4];
#pragma unroll
    for (int m = 0; m < kOutputTiles; ++m) {
      const uint32_t* rows_of = stage.weights + (outputs + 16 * m) * kStageWords;
      w[m][0] = rows_of[low];
      w[m][1] = rows_of[8 * kStageWords + low];
      w[m][2] = rows_of[high];
      w[m][3] = rows_of[8 * kStageWords + high];
    }
    const auto of_outputs = [&](int which) {
      OutputNumbers numbers;
      numbers.read(stage.weight_numbers + which * kIntegerOutputs + outputs);
      return numbers;
    };
    const auto of_rows = [&](int which, int n) {
      return *reinterpret_cast<const float2*>(
          stage.input_numbers + (2 * step + which) * Stage::kInputPitch + rows + 8 * n + 2 * t);
    };
    const OutputNumbers scales = of_outputs(kHalves ? 2 * step : step);
    // Of the second half, or minima.
    const OutputNumbers more = kGrouping == Grouping::scales ? OutputNumbers{}
                               : kHalves                     ? of_outputs(2 * step + 1)
                                                             : of_outputs(2 + step);
#pragma unroll
    for (int n = 0; n < row_tiles(kRows); ++n) {
      const uint32_t* rows_of = stage.inputs + (rows + 8 * n) * kStageWords;
      const uint32_t x[2] = {rows_of[low], rows_of[high]};
      const float2 scale = of_rows(0, n);
#pragma unroll
      for (int m = 0; m < kOutputTiles; ++m) {
        int product[4];
        if constexpr (kHalves) {
          mma_bytes_onto(kMagicBits, product, {w[m][0], w[m][1]}, x[0]);
          add_scaled(sum[m][n], product, scales.of[m], scale);
          mma_bytes_onto(kMagicBits, product, {w[m][2], w[m][3]}, x[1]);
          add_scaled(sum[m][n], product, more.of[m], scale);
        } else {
          mma_bytes_onto(kMagicBits, product, w[m], x);
          add_scaled(sum[m][n], product, scales.of[m], scale);
        }
      }
      if constexpr (kGrouping == Grouping::minima) {
        const float2 of_codes = of_rows(1, n);
#pragma unroll
        for (int m = 0; m < kOutputTiles; ++m) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            float& to = sum[m][n][e];
            to = fmaf(-more.of[m][e / 2], e % 2 == 0 ? of_codes.x : of_codes.y, to);
          }
        }
      }
    }
  }
}

template <Format F, bool kAcross, Grouping kGrouping, int kRows>
__device__ void multiply_integers(const IntegersSegment& segment, int first_output, int first_row,
                                  int rows) {
  using Stage = IntegerStage<kRows>;
  const DeviceMatrix& W = segment.W;
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int outputs = warp % 2 * 16 * kOutputTiles;
  const int own_rows = warp / 2 * 8 * row_tiles(kRows);
  const CodedRows x(segment.x, int64_t(rows) * W.cols);

  IntegerPieces<F, kAcross, kGrouping, kRows> pieces;
  pieces.get_weights(W, first_output, 0);
  await_predecessors();
  pieces.get_inputs(x, W.cols, first_row, rows, 0);

  float sum[kOutputTiles][row_tiles(kRows)][4] = {};
  const int count = (W.cols + kStageInputs - 1) / kStageInputs;
#pragma unroll 1  // two would not find registers
  for (int s = 0; s < count; ++s) {
    // Who writes this stage has passed the last meeting, so all have multiplied the one before it.
    const Stage stage(shared_floats() + s % 2 * Stage::kFloats);
    pieces.put(stage);
    block_sync();
    if (s + 1 < count) {
      pieces.get_weights(W, first_output, s + 1);
      pieces.get_inputs(x, W.cols, first_row, rows, s + 1);
    }
    multiply_stage<kGrouping>(stage, outputs, own_rows, sum);
  }

  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int m = 0; m < kOutputTiles; ++m) {
#pragma unroll
    for (int n = 0; n < row_tiles(kRows); ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int output =
            first_output + WeightPieces<F, kAcross>::output_of(outputs + 16 * m + i / 2 * 8 + g);
        const int row = first_row + own_rows + 8 * n + 2 * t + i % 2;
        if (output >= W.rows || row >= rows) continue;
        float* to = segment.y + int64_t(row) * W.rows + output;
        *to = segment.epilogue == Epilogue::add ? *to + sum[m][n][i] : sum[m][n][i];
      }
    }
  }
}

// grid [outputs of all segments / 128][rows / kRows]; two stages of shared memory. One block for a
// processor is enough: without saying so nvcc would spill to make room for two.
template <bool kAcross, int kRows>
__global__ void __launch_bounds__(kIntegerThreads, 1) integers_kernel(IntegersArgs args) {
  admit_successor();
  int s = 0;
  while (s + 1 < args.count && int(blockIdx.x) >= args.segments[s + 1].first_block) ++s;
  const IntegersSegment& segment = args.segments[s];
  const int first_output = (int(blockIdx.x) - segment.first_block) * kIntegerOutputs;
  const int first_row = int(blockIdx.y) * kRows;
  const bool minima = segment.W.minima != nullptr;
  // The kinds that there are: encode.h makes no others.
  if (segment.W.format == Format::nibbles) {
    multiply_integers<Format::nibbles, kAcross, Grouping::minima, kRows>(segment, first_output,
                                                                         first_row, args.rows);
  } else if (segment.W.group == 16) {
    multiply_integers<Format::bytes, kAcross, Grouping::halves, kRows>(segment, first_output,
                                                                       first_row, args.rows);
  } else if (minima) {
    multiply_integers<Format::bytes, kAcross, Grouping::minima, kRows>(segment, first_output,
                                                                       first_row, args.rows);
  } else {
    multiply_integers<Format::bytes, kAcross, Grouping::scales, kRows>(segment, first_output,
                                                                       first_row, args.rows);
  }
}

}  // namespace anser::cuda
