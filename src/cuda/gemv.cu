#include "cuda/kernels/gemv.h"

#include <algorithm>
#include <utility>

#include "cuda/launch.h"

namespace anser::cuda {

void gemv(void* stream, const GemvArgs& given, const Card& card) {
  GemvArgs args = given;
  const size_t row_bytes = size_t(padded_to_octets(args.width)) * sizeof(float);
  const auto bytes = [&](int rows) {
    return row_bytes * size_t(rows + (args.source == Source::shift ? 1 : 0));
  };
  const auto queue = [&](auto kernel, int rows) {
    // All blocks that run at once, shared by the matrices by their outputs, but no more than keep
    // every warp busy.
    int64_t outputs = 0;
    for (int s = 0; s < args.count; ++s) outputs += args.segments[s].W.rows;
    const int at_once = kGemvBlocks * card.processors;
    int first = 0, rounded = 0;
    int64_t so_far = 0;
    for (int s = 0; s < args.count; ++s) {
      GemvSegment& segment = args.segments[s];
      // The ends are rounded, not the shares: together these must not be more than run at once.
      so_far += segment.W.rows;
      const int end = int((so_far * at_once + outputs / 2) / outputs);
      const int share = end - std::exchange(rounded, end);
      segment.first_block = first;
      segment.blocks = std::clamp(share, 1, divide_up(segment.W.rows, kGemvOutputs));
      first += segment.blocks;
    }
    queue_kernel(stream, kernel, dim3(unsigned(first), unsigned(divide_up(args.rows, rows))),
                 kGemvThreads, bytes(rows), args);
  };
  if (args.rows > 2 && bytes(4) <= card.shared_bytes) {
    queue(gemv_kernel<4>, 4);
  } else if (args.rows > 1 && bytes(2) <= card.shared_bytes) {
    queue(gemv_kernel<2>, 2);
  } else {
    queue(gemv_kernel<1>, 1);
  }
}

}  // namespace anser::cuda
