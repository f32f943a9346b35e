#include "cuda/kernels/gemv.h"
#include "cuda/launch.h"

namespace anser::cuda {

void gemv(void* stream, const GemvArgs& given, size_t shared_bytes) {
  GemvArgs args = given;
  int blocks = 0;
  for (int s = 0; s < args.count; ++s) {
    args.segments[s].first_block = blocks;
    blocks += divide_up(args.segments[s].W.rows, kGemvOutputs);
  }
  const size_t row_bytes = size_t((args.width + 7) / 8 * 8) * sizeof(float);
  const auto bytes = [&](int rows) {
    return row_bytes * (rows + (args.source == Source::shift ? 1 : 0));
  };
  const auto queue = [&](auto kernel, int rows) {
    queue_kernel(stream, kernel, dim3(unsigned(blocks), unsigned(divide_up(args.rows, rows))),
                 kGemvThreads, bytes(rows), args);
  };
  if (args.rows > 2 && bytes(4) <= shared_bytes) {
    queue(gemv_kernel<4>, 4);
  } else if (args.rows > 1 && bytes(2) <= shared_bytes) {
    queue(gemv_kernel<2>, 2);
  } else {
    queue(gemv_kernel<1>, 1);
  }
}

}  // namespace anser::cuda
