#include "cuda/kernels/tiles.h"

#include <algorithm>

#include "cuda/kernels/contract.h"
#include "cuda/launch.h"

namespace anser::cuda {
namespace {

constexpr int kMostTiles = 4;

template <int N>
struct Count {
  static constexpr int value = N;
};

// Calls work(number of tile columns): enough for all rows, or the most.
template <class Work>
void with_tiles(int rows, Work&& work) {
  if (rows <= kTileRows) {
    work(Count<1>());
  } else if (rows <= 2 * kTileRows) {
    work(Count<2>());
  } else {
    work(Count<kMostTiles>());
  }
}

template <Format F>
void queue_tiles(void* stream, TilesArgs& args, const Card& card) {
  const auto blocks_of = [&](int outputs) {
    int blocks = 0;
    for (int s = 0; s < args.count; ++s) blocks += divide_up(args.segments[s].W.rows, outputs);
    return blocks;
  };
  // The more outputs a block has the less often activations are read; but two blocks for every
  // processor, where there are as many, keep all of them busy to the end.
  int sets = kMostTileWarps / kTileParts;
  while (sets > 1 && blocks_of(sets * kTileOutputs) < 2 * card.processors) sets /= 2;
  const int outputs = sets * kTileOutputs, blocks = blocks_of(outputs);
  int first = 0;
  for (int s = 0; s < args.count; ++s) {
    args.segments[s].first_block = first;
    first += divide_up(args.segments[s].W.rows, outputs);
  }
  with_tiles(args.rows, [&](auto tiles) {
    constexpr int kTiles = decltype(tiles)::value;
    constexpr int kRows = kTiles * kTileRows;
    queue_kernel(stream, tiles_kernel<F, kTiles>,
                 dim3(unsigned(blocks), unsigned(divide_up(args.rows, kRows))),
                 sets * kTileParts * kWarp, size_t(kRows) * tile_sum_pitch(outputs) * sizeof(float),
                 args);
  });
}

template <Format F>
void queue_lines(void* stream, const LinesArgs& args) {
  with_tiles(args.rows, [&](auto tiles) {
    constexpr int kTiles = decltype(tiles)::value;
    queue_kernel(stream, lines_kernel<F, kTiles>,
                 dim3(unsigned(divide_up(args.W.rows, kAcrossOutputs)),
                      unsigned(divide_up(args.W.cols, kShareLines)),
                      unsigned(divide_up(args.rows, kTiles * kTileRows))),
                 kTileParts * kWarp, 0, args);
  });
}

}  // namespace

void tiles(void* stream, const TilesArgs& given, Format type, const Card& card) {
  TilesArgs args = given;
  if (type == Format::f16) {
    queue_tiles<Format::f16>(stream, args, card);
  } else {
    queue_tiles<Format::bf16>(stream, args, card);
  }
}

void lines(void* stream, const LinesArgs& args, Format type) {
  if (type == Format::f16) {
    queue_lines<Format::f16>(stream, args);
  } else {
    queue_lines<Format::bf16>(stream, args);
  }
}

int64_t share_floats(int cols, int rows, int width) {
  return int64_t(divide_up(cols, kShareLines)) * rows * width;
}

// A counter for every patch of contract() or lines(): at least a row, and 64 columns.
static_assert(kContractColumns == kAcrossOutputs);
int share_counters(int rows, int width) {
  return divide_up(width, kAcrossOutputs) * rows;
}

}  // namespace anser::cuda
