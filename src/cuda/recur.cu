#include <type_traits>

#include "anser/error.h"
#include "cuda/kernels/recur.h"
#include "cuda/launch.h"

namespace anser::cuda {

namespace {

template <int N>
struct Size {
  static constexpr int value = N;
};

// Calls work(size, whether low-rank pairs are computed, too).
template <class Work>
void with_head_size(const RecurArgs& args, Work&& work) {
  const auto with_size = [&](auto size) {
    if (args.w_up == nullptr) {
      work(size, std::true_type());
    } else {
      work(size, std::false_type());
    }
  };
  const int n = args.head_size;
  switch (n) {
    case 16:
      return with_size(Size<16>());
    case 32:
      return with_size(Size<32>());
    case 64:
      return with_size(Size<64>());
    case 128:
      return with_size(Size<128>());
  }
  throw Error("no CUDA kernels for heads of " + std::to_string(n) +
              "; there are for 16, 32, 64 and 128. Use --device cpu");
}

// Of stage_low_rank().
size_t low_rank_bytes(const RecurArgs& args) {
  if (args.w_up != nullptr) return 0;
  const int v = args.v_first != nullptr ? args.v2.stride : 0;
  return size_t(args.w2.stride + args.a2.stride + args.g2.stride + v) * sizeof(float);
}

// All vectors at once, a scan, norms and gates.
void recur_around(void (*scan)(void*, const RecurArgs&), void* stream, const RecurArgs& args) {
  with_head_size(args, [&](auto size, auto low_rank) {
    constexpr int N = decltype(size)::value;
    constexpr bool kLowRank = decltype(low_rank)::value;
    const dim3 rows(unsigned(args.heads), unsigned(args.step.row_count));
    queue_kernel(stream, prepare_kernel<N, kLowRank>, rows, 4 * N, low_rank_bytes(args), args);
    scan(stream, args);
    queue_kernel(stream, finish_kernel<N, kLowRank>, rows, 4 * N, low_rank_bytes(args), args);
  });
}

}  // namespace

bool recur_supports(int head_size) {
  return head_size == 16 || head_size == 32 || head_size == 64 || head_size == 128;
}

void recur(void* stream, const RecurArgs& args) {
  with_head_size(args, [&](auto size, auto low_rank) {
    constexpr int N = decltype(size)::value;
    constexpr bool kLowRank = decltype(low_rank)::value;
    queue_kernel(stream, recur_kernel<N, kLowRank>,
                 dim3(unsigned(args.heads), unsigned(args.step.run_count)), 4 * N,
                 low_rank_bytes(args), args);
  });
}

void scan(void* stream, const RecurArgs& args) {
  with_head_size(args, [&](auto size, auto) {
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
