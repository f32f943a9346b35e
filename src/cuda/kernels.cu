#include "cuda/kernels.h"

#include "anser/error.h"

namespace anser::cuda {

[[noreturn]] void kernel_failed(const char* what) {
  throw Error(std::string("the GPU refused a kernel: ") + what);
}

}  // namespace anser::cuda

#include "cuda/kernels/contract.h"
#include "cuda/kernels/gemv.h"
#include "cuda/kernels/recur.h"
#include "cuda/kernels/rows.h"

namespace anser::cuda {
namespace {

int divide_up(int64_t n, int64_t by) {
  return int((n + by - 1) / by);
}

// Enough blocks to fill any card; each goes on in steps of the grid.
dim3 grid_over(int64_t count) {
  const int64_t blocks = (count + kRowThreads - 1) / kRowThreads;
  return dim3(unsigned(blocks < 4096 ? blocks : 4096));
}

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

}  // namespace

void embed(void* stream, const EmbedArgs& args) {
  queue_kernel(stream, embed_kernel, dim3(unsigned(args.step.row_count)), kRowThreads, 0, args);
}

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

void mix(void* stream, const MixArgs& args) {
  queue_kernel(stream, mix_kernel, dim3(unsigned(args.rows)), kRowThreads,
               2 * size_t(args.width) * sizeof(float), args);
}

void convert(void* stream, const ConvertArgs& args) {
  queue_kernel(stream, convert_kernel, grid_over(args.count), kRowThreads, 0, args);
}

void relu_squared(void* stream, const ReluSquaredArgs& args) {
  queue_kernel(stream, relu_squared_kernel, grid_over(args.count), kRowThreads, 0, args);
}

void widen(void* stream, const WidenArgs& args) {
  queue_kernel(stream, widen_kernel, grid_over(int64_t(args.W.rows) * args.W.cols / 8 + 1),
               kRowThreads, 0, args);
}

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

void recur_many(void* stream, const RecurArgs& args) {
  with_head_size(args.head_size, [&](auto size) {
    constexpr int N = decltype(size)::value;
    const dim3 rows(unsigned(args.heads), unsigned(args.step.row_count));
    queue_kernel(stream, prepare_kernel<N>, rows, 4 * N, 0, args);
    queue_kernel(stream, scan_kernel<N>,
                 dim3(unsigned(args.heads), N / kSliceRows, unsigned(args.step.run_count)),
                 4 * kSliceRows, 0, args);
    queue_kernel(stream, finish_kernel<N>, rows, 4 * N, 0, args);
  });
}

void contract(void* stream, const ContractArgs& args) {
  const auto queue = [&](auto kernel, int rows) {
    queue_kernel(stream, kernel,
                 dim3(unsigned(divide_up(args.value.rows, kContractColumns)),
                      unsigned(divide_up(args.value.cols, kContractLines)),
                      unsigned(divide_up(args.rows, rows))),
                 kContractThreads, 0, args);
  };
  if (args.rows == 1) {
    queue(contract_kernel<1>, 1);
  } else {
    queue(contract_kernel<kContractRows>, kContractRows);
  }
}

int64_t contract_partial_floats(int ffn, int rows, int width) {
  return int64_t(divide_up(ffn, kContractLines)) * rows * width;
}

int contract_counters(int rows, int width) {
  return divide_up(width, kContractColumns) * rows;
}

}  // namespace anser::cuda
