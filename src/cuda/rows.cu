#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace anser::cuda {

void embed(void* stream, const EmbedArgs& args) {
  queue_kernel(stream, embed_kernel, dim3(unsigned(args.step.row_count)), kRowThreads, 0, args);
}

void mix(void* stream, const MixArgs& args) {
  // About as many blocks as a large card has processors, of 256 columns or more.
  const int most = divide_up(args.width, kRowThreads);
  const int parts = args.rows <= 16 ? 8 : args.rows <= 64 ? 4 : args.rows <= 128 ? 2 : 1;
  queue_kernel(stream, mix_kernel, dim3(unsigned(args.rows), unsigned(parts < most ? parts : most)),
               kRowThreads, 0, args);
}

void convert(void* stream, const ConvertArgs& args) {
  queue_kernel(stream, convert_kernel, grid_over(args.count, kRowThreads), kRowThreads, 0, args);
}

void relu_squared(void* stream, const ReluSquaredArgs& args) {
  queue_kernel(stream, relu_squared_kernel, grid_over(int64_t(args.rows) * args.ffn, kRowThreads),
               kRowThreads, 0, args);
}

void widen(void* stream, const WidenArgs& args) {
  queue_kernel(stream, args.W.transposed ? widen_kernel<true> : widen_kernel<false>,
               grid_over(int64_t(args.W.rows) * args.W.cols / 8 + 1, kRowThreads), kRowThreads, 0,
               args);
}

void read_all(void* stream, const ReadArgs& args) {
  queue_kernel(stream, read_kernel, grid_over(args.bytes / 16, kRowThreads), kRowThreads, 0, args);
}

void fill_noise(void* stream, const NoiseArgs& args) {
  queue_kernel(stream, noise_kernel, grid_over(args.count, kRowThreads), kRowThreads, 0, args);
}

}  // namespace anser::cuda
