#include "anser/error.h"
#include "cuda/kernels/recur.h"
#include "cuda/launch.h"

namespace anser::cuda {

namespace {

template <int N>
struct Size {
  static constexpr int value = N;
};

template <class Work>
void with_head_size(int n, Work&& work) {
  switch (n) {
    case 16:
      return work(Size<16>());
    case 32:
      return work(Size<32>());
    case 64:
      return work(Size<64>());
    case 128:
      return work(Size<128>());
  }
  throw Error("no CUDA kernels for heads of " + std::to_string(n) +
              "; there are for 16, 32, 64 and 128. Use --device cpu");
}

// All vectors at once, a scan, norms and gates.
void recur_around(void (*scan)(void*, const RecurArgs&), void* stream, const RecurArgs& args) {
  with_head_size(args.head_size, [&](auto size) {
    constexpr int N = decltype(size)::value;
    const dim3 rows(unsigned(args.heads), unsigned(args.step.row_count));
    queue_kernel(stream, prepare_kernel<N>, rows, 4 * N, 0, args);
    scan(stream, args);
    queue_kernel(stream, finish_kernel<N>, rows, 4 * N, 0, args);
  });
}

}  // namespace

bool recur_supports(int head_size) {
  return head_size == 16 || head_size == 32 || head_size == 64 || head_size == 128;
}

void recur(void* stream, const RecurArgs& args) {
  with_head_size(args.head_size, [&](auto size) {
    constexpr int N = decltype(size)::value;
    queue_kernel(stream, recur_kernel<N>, dim3(unsigned(args.heads), unsigned(args.step.run_count)),
                 4 * N, 0, args);
  });
}

void scan(void* stream, const RecurArgs& args) {
  with_head_size(args.head_size, [&](auto size) {
    constexpr int N = decltype(size)::value;
    queue_kernel(stream, scan_kernel<N>,
                 dim3(unsigned(args.heads), N / kSliceRows, unsigned(args.step.run_count)),
                 4 * kSliceRows, 0, args);
  });
}

void recur_many(void* stream, const RecurArgs& args) {
  recur_around(scan, stream, args);
}
void recur_chunked(void* stream, const RecurArgs& args) {
  recur_around(scan_chunks, stream, args);
}

}  // namespace anser::cuda
