#include "cuda/speed.h"

#include <algorithm>
#include <chrono>

#include "anser/error.h"
#include "cuda/gemm.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace anser::cuda {
namespace {

constexpr int kPasses = 7;

// The shortest of some passes, after one that does not count.
template <class Work>
double shortest_seconds(Stream& stream, Work&& work) {
  double shortest = 1e30;
  for (int pass = 0; pass <= kPasses; ++pass) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    stream.wait();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (pass > 0) shortest = std::min(shortest, taken.count());
  }
  return shortest;
}

DeviceInfo select_first() {
  std::string why;
  const auto found = usable_devices(why);
  if (found.empty()) throw Error(why);
  select(found.front().index);
  return found.front();
}

// A model may have taken most of the memory: then less has to do, down to `least` bytes.
Buffer as_large_as_fits(size_t bytes, size_t least) {
  for (;; bytes /= 2) {
    try {
      return Buffer(aligned(bytes));
    } catch (const Error&) {
      if (bytes / 2 < least) throw;
    }
  }
}

// measure_peak_gflop_s() by this program's own product.
double measure_own_peak_gflop_s(const DeviceInfo& device, int size) {
  Stream stream;
  const size_t numbers = size_t(size) * size_t(size);
  const Buffer W(numbers * 2), x(numbers * 2), y(numbers * sizeof(float));
  fill_noise(stream.handle(), {W.data(), int64_t(numbers), 1});
  fill_noise(stream.handle(), {x.data(), int64_t(numbers), 2});
  TilesArgs args;
  args.segments[0].W = {
      .codes = W.data(), .format = Format::f16, .rows = size, .cols = size, .stride = size};
  args.segments[0].x = x.data();
  args.segments[0].y = y.data();
  args.count = 1;
  args.rows = size;
  const Card card = {device.processors, device.shared_bytes - kOwnSharedBytes};
  const double seconds =
      shortest_seconds(stream, [&] { tiles(stream.handle(), args, Format::f16, card); });
  return 2.0 * double(numbers) * size / seconds * 1e-9;
}

}  // namespace

double measure_stream_gb_s(size_t bytes) {
  select_first();
  Stream stream;
  const Buffer from = as_large_as_fits(bytes, size_t{128} << 20), sum(kAlignment);
  stream.zero(from.data(), from.bytes());
  stream.zero(sum.data(), sum.bytes());
  const double seconds = shortest_seconds(stream, [&] {
    read_all(stream.handle(), {from.data(), int64_t(from.bytes()), sum.as<float>()});
  });
  return double(from.bytes()) / seconds * 1e-9;
}

double measure_peak_gflop_s(int size) {
  const DeviceInfo device = select_first();
  if (!Gemm::available()) return measure_own_peak_gflop_s(device, size / 4);
  Stream stream;
  Gemm gemm;
  const size_t numbers = size_t(size) * size_t(size);
  const Buffer W(numbers * 2), x(numbers * 2), y(numbers * sizeof(float));
  // Zeros would flatter: they cost less power, and the clock stays up.
  fill_noise(stream.handle(), {W.data(), int64_t(numbers), 1});
  fill_noise(stream.handle(), {x.data(), int64_t(numbers), 2});
  const Product product = {.W = W.data(),
                           .transposed = false,
                           .pitch = size,
                           .x = x.data(),
                           .x_pitch = size,
                           .y = y.as<float>(),
                           .rows = size,
                           .inputs = size,
                           .outputs = size,
                           .type = Format::f16};
  const double seconds = shortest_seconds(stream, [&] { gemm.multiply(stream, product); });
  return 2.0 * double(numbers) * size / seconds * 1e-9;
}

}  // namespace anser::cuda
