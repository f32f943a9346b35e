#include "cuda/kernels/chunk.h"

#include <string>

#include "anser/error.h"
#include "cuda/launch.h"

namespace anser::cuda {

namespace {

template <int N>
void queue_chunks(void* stream, const RecurArgs& args) {
  const int slots = divide_up(args.step.row_count, kChunkTokens);
  queue_kernel(stream, chunk_terms_kernel<N>, dim3(unsigned(args.heads), unsigned(slots)), 2 * N, 0,
               args);
  queue_kernel(stream, chunk_scan_kernel<N>,
               dim3(unsigned(args.heads), N / kSliceRows, unsigned(args.step.run_count)), 2 * N, 0,
               args);
}

}  // namespace

bool chunks_support(int head_size) {
  return head_size == 32 || head_size == 64 || head_size == 128;
}

void scan_chunks(void* stream, const RecurArgs& args) {
  switch (args.head_size) {
    case 32:
      return queue_chunks<32>(stream, args);
    case 64:
      return queue_chunks<64>(stream, args);
    case 128:
      return queue_chunks<128>(stream, args);
  }
  throw Error("no CUDA kernels for chunks of heads of " + std::to_string(args.head_size) +
              "; there are for 32, 64 and 128");
}

}  // namespace anser::cuda
