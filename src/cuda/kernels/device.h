// What the kernels are written in: CUDA itself under nvcc; elsewhere an emulator of the same names
// (tests/cuda/emulator/emulator.h), found through the include path.
#pragma once

#include <cstdint>

#include "cuda/device_matrix.h"
#include "cuda/kernels.h"

// Tile products of a warp, d += a b, whose numbers are spread over the lanes. With lane = 4 g + t:
//
//   tile            a         b         d        a[0..3]                     b[0..1]
//   mma<f16, bf16>  [16][16]  [16][8]   [16][8]  pairs, columns 2t 2t+1      pairs, rows 2t 2t+1
//   mma<f32>        [16][8]   [8][8]    [16][8]  a number, column t          a number, row t
//   mma_bytes_onto  [16][32]  [32][8]   [16][8]  fours, columns 4t .. 4t+3   fours, rows 4t .. 4t+3
//
// mma_bytes_onto adds to a constant instead, d = c + a b; with half of the words, a[0], a[1] and
// b[0], it is the product of half of the inputs.
// a[0] and a[2] are of row g, a[1] and a[3] of row g + 8; a[2], a[3] lie half of a's width to the
// right of a[0], a[1]; b is of column g, b[1] half of b's height below b[0]. d[0], d[1] are
// columns 2t, 2t + 1 of row g, d[2], d[3] of row g + 8. f32 is rounded to 11 bits (tf32), here as
// elsewhere: mma<f32> needs compute capability 8.0, as bf16 does. Sums are fp32, of bytes int32.

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace anser::cuda {

[[noreturn]] void kernel_failed(const char* why);  // throws Error
bool plain_launches();                             // cuda/runtime.h

__device__ inline float from_f16(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
__device__ inline float from_bf16(uint16_t bits) {
  return __uint_as_float(uint32_t(bits) << 16);
}
// The number whose bits these are.
__device__ inline float from_bits(uint32_t bits) {
  return __uint_as_float(bits);
}
__device__ inline uint32_t bits_of(float x) {
  return __float_as_uint(x);
}
__device__ inline uint16_t to_f16(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
__device__ inline uint16_t to_bf16(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

// A number in the 16 bits of format F, f16 or bf16.
template <Format F>
__device__ inline uint16_t to_half(float x) {
  return F == Format::f16 ? to_f16(x) : to_bf16(x);
}

// Bytes of x (0 to 3) and y (4 to 7); nibble i of `which` chooses byte i of the result.
__device__ inline uint32_t pick_bytes(uint32_t x, uint32_t y, uint32_t which) {
  return __byte_perm(x, y, which);
}
// On pairs of f16: x - y, and x y + z with one rounding.
__device__ inline uint32_t subtract_pairs(uint32_t x, uint32_t y) {
  const __half2 d = __hsub2(*reinterpret_cast<__half2*>(&x), *reinterpret_cast<__half2*>(&y));
  return *reinterpret_cast<const uint32_t*>(&d);
}
__device__ inline uint32_t fma_pairs(uint32_t x, uint32_t y, uint32_t z) {
  const __half2 d = __hfma2(*reinterpret_cast<__half2*>(&x), *reinterpret_cast<__half2*>(&y),
                            *reinterpret_cast<__half2*>(&z));
  return *reinterpret_cast<const uint32_t*>(&d);
}

// The sum over a warp, in every lane. All 32 lanes take part.
__device__ inline float warp_sum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, distance);
  }
  return x;
}

// The largest of a warp, in every lane. All 32 lanes take part.
__device__ inline uint64_t warp_max(uint64_t x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const uint64_t other =
        __shfl_xor_sync(0xffffffffu, static_cast<unsigned long long>(x), distance);
    x = other > x ? other : x;
  }
  return x;
}

// The same as warp_sum over four neighbouring lanes.
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// The largest of four neighbouring lanes, in each of them.
__device__ inline uint32_t quad_max(uint32_t x) {
  x = max(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return max(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// Bit l: what lane l says.
__device__ inline uint32_t ballot(bool mine) {
  return __ballot_sync(0xffffffffu, mine);
}
__device__ inline int count_bits(uint32_t bits) {
  return __popc(bits);
}
// The place of the lowest bit that is set; bits is not zero.
__device__ inline int lowest_bit(uint32_t bits) {
  return __ffs(int(bits)) - 1;
}

// fp32 rounded to the nearest tf32: 8 bits of exponent, 11 of significand.
__device__ inline float to_tf32(float x) {
#if __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __uint_as_float(bits);
#else
  return x;
#endif
}

template <Format F>
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
#define ANSER_MMA(shape)                                                          \
  asm volatile("mma.sync.aligned." shape                                          \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (F == Format::f16) {
    ANSER_MMA("m16n8k16.row.col.f32.f16.f16.f32");
  } else if constexpr (F == Format::bf16) {
    ANSER_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
  } else {
    ANSER_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
  }
#undef ANSER_MMA
#else
  // Turing has half of it, of f16.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
  }
#endif
}

// d = c + a b, with c in all places: registers that hold it can serve every product.
__device__ inline void mma_bytes_onto(int c, int (&d)[4], const uint32_t (&a)[4],
                                      const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %10, %10, %10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c));
#else
  d[0] = d[1] = d[2] = d[3] = c;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                 : "+r"(d[i % 2 * 2]), "+r"(d[i % 2 * 2 + 1])
                 : "r"(a[i]), "r"(b[i / 2]));
  }
#endif
}
__device__ inline void mma_bytes_onto(int c, int (&d)[4], const uint32_t (&a)[2], uint32_t b) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%7, %7, %7, %7};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b), "r"(c));
#else
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%4, %4};"
                 : "=r"(d[2 * i]), "=r"(d[2 * i + 1])
                 : "r"(a[i]), "r"(b), "r"(c));
  }
#endif
}

__device__ inline void block_sync() {
  __syncthreads();
}

// Everything that this thread has written is seen by the grid before what it writes next.
__device__ inline void grid_fence() {
  __threadfence();
}

template <class T>
__device__ T atomic_add(T* at, T x) {
  return atomicAdd(at, x);
}

// Kernels follow each other before their predecessors have ended (programmatic dependent launch).
// Before this call a kernel may read weights only; after it, all that earlier kernels wrote is
// there, and it may write.
__device__ inline void await_predecessors() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// From here on the successor's blocks may take the places that this kernel leaves free.
__device__ inline void admit_successor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Asks for the cache line of `at` to come to the level 2 cache. Of weights, so it may stand before
// await_predecessors().
__device__ inline void prefetch(const void* at) {
  asm volatile("prefetch.L2 [%0];" ::"l"(at));
}
constexpr int kCacheLine = 128;  // bytes

// The shared memory whose size the launch gives.
__device__ inline float* shared_floats() {
  extern __shared__ float4 anser_shared[];
  return reinterpret_cast<float*>(anser_shared);
}

// Whether the current device runs code of ours that waits for its predecessors by itself, so that
// it may begin early: the newest code in this program that it can run is for 9.0 or newer.
inline bool may_begin_early() {
  thread_local int known = -1;
  thread_local bool early = false;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device == known) return early;
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  int newest = 0;
  for (const int built : {__CUDA_ARCH_LIST__}) {
    if (built <= 100 * major + 10 * minor && built > newest) newest = built;
  }
  known = device;
  return early = newest >= 900;
}

// Queues a kernel, which may begin before its predecessor has ended.
template <class Args>
void queue_kernel(void* stream, void (*kernel)(Args), dim3 grid, int threads, size_t shared,
                  const Args& args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(unsigned(threads));
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = may_begin_early() && !plain_launches() ? 1 : 0;
  // More than the 48 KiB that any block may have, with what the kernel has of its own, must be
  // asked for.
  cudaError_t error = cudaSuccess;
  if (shared + kOwnSharedBytes > 48 * 1024) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
  }
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, args);
  if (error != cudaSuccess) kernel_failed(cudaGetErrorString(error));
}

}  // namespace anser::cuda

#else

#include <emulator.h>  // of the build that compiles kernels as C++

#endif
