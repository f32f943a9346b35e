#include "cuda/kernels/integers.h"

#include "cuda/launch.h"

namespace anser::cuda {
namespace {

template <int kRows>
void queue(void* stream, const IntegersArgs& args, int blocks) {
  queue_kernel(
      stream,
      args.segments[0].W.transposed ? integers_kernel<true, kRows> : integers_kernel<false, kRows>,
      dim3(unsigned(blocks), unsigned(divide_up(args.rows, kRows))), kIntegerThreads,
      2 * IntegerStage<kRows>::kFloats * sizeof(float), args);
}

}  // namespace

void integers(void* stream, const IntegersArgs& given, const Card& card) {
  IntegersArgs args = given;
  int blocks = 0;
  for (int s = 0; s < args.count; ++s) {
    args.segments[s].first_block = blocks;
    blocks += divide_up(args.segments[s].W.rows, kIntegerOutputs);
  }
  // With more rows to a block weights are read less often; but all processors are to have one.
  if (args.rows > 64 && blocks * divide_up(args.rows, 128) >= card.processors) {
    queue<128>(stream, args, blocks);
  } else {
    queue<64>(stream, args, blocks);
  }
}

}  // namespace anser::cuda
