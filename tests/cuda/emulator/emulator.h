// CUDA's names for kernels compiled as C++: the threads of a block take turns, each on a stack of
// its own, and go on to the next meeting point (block_sync, a sum over a warp) before others
// follow. Which thread goes first changes from turn to turn, so that a missing block_sync shows.
// One block after the other: what depends on blocks running side by side does not show.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda/device_matrix.h"
#include "cuda/kernels.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block at a time
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  explicit dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace anser::cuda {

namespace emulator {
// Puts work into a Stream's queue, where it waits until the host waits for it, or records it while
// a recording is under way. Without a stream it runs at once.
void queue(void* stream, std::function<void()> work);
// What a device refuses; throws Error.
void check_launch(dim3 grid, int threads, size_t shared);
void run_kernel(dim3 grid, int threads, size_t shared, const std::function<void()>& thread);
// What each of the warp's 32 lanes gave.
const float* exchange(float mine);
// The same for several words, at most 8: [32][8].
using Words = uint32_t[8];
const Words* exchange(const uint32_t* mine, int count);
float* shared_memory();
}  // namespace emulator

float from_f16(uint16_t bits);
float from_bf16(uint16_t bits);
inline float from_bits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline uint32_t bits_of(float x) {
  return std::bit_cast<uint32_t>(x);
}
uint16_t to_f16(float x);
uint16_t to_bf16(float x);
template <Format F>
uint16_t to_half(float x) {
  return F == Format::f16 ? to_f16(x) : to_bf16(x);
}
uint32_t pick_bytes(uint32_t x, uint32_t y, uint32_t which);
uint32_t subtract_pairs(uint32_t x, uint32_t y);
uint32_t fma_pairs(uint32_t x, uint32_t y, uint32_t z);

float to_tf32(float x);
template <Format F>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void mma_bytes_onto(int c, int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
inline void mma_bytes_onto(int c, int (&d)[4], const uint32_t (&a)[2], uint32_t b) {
  mma_bytes_onto(c, d, {a[0], a[1], 0, 0}, {b, 0});
}

void block_sync();
float warp_sum(float x);
uint64_t warp_max(uint64_t x);
float quad_sum(float x);
uint32_t quad_max(uint32_t x);
uint32_t ballot(bool mine);
inline int count_bits(uint32_t bits) {
  return __builtin_popcount(bits);
}
inline int lowest_bit(uint32_t bits) {
  return __builtin_ctz(bits);
}
inline void grid_fence() {}
template <class T>
T atomic_add(T* at, T x) {
  const T before = *at;
  *at += x;
  return before;
}
inline void await_predecessors() {}
inline void admit_successor() {}
// Reads it, so that a place outside of the device's memory can be found.
inline void prefetch(const void* at) {
  (void)*static_cast<const volatile char*>(at);
}
constexpr int kCacheLine = 128;
inline float* shared_floats() {
  return emulator::shared_memory();
}

template <class Args>
void queue_kernel(void* stream, void (*kernel)(Args), dim3 grid, int threads, size_t shared,
                  const Args& args) {
  static_assert(sizeof(Args) <= 4096, "what a launch may carry");
  emulator::check_launch(grid, threads, shared);
  emulator::queue(stream,
                  [=] { emulator::run_kernel(grid, threads, shared, [&] { kernel(args); }); });
}

}  // namespace anser::cuda
