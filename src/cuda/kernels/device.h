// What the kernels are written in: CUDA itself under nvcc; elsewhere an emulator of the same names
// (tests/cuda/emulator/emulator.h), found through the include path.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace anser::cuda {

__device__ inline float from_f16(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
__device__ inline float from_bf16(uint16_t bits) {
  return __uint_as_float(uint32_t(bits) << 16);
}
__device__ inline uint16_t to_f16(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
__device__ inline uint16_t to_bf16(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

// The sum over a warp, in every lane. All 32 lanes take part.
__device__ inline float warp_sum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, distance);
  }
  return x;
}

// The same over four neighbouring lanes.
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// Bit l: what lane l says.
__device__ inline uint32_t ballot(bool mine) {
  return __ballot_sync(0xffffffffu, mine);
}
__device__ inline int count_bits(uint32_t bits) {
  return __popc(bits);
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

// The shared memory whose size the launch gives.
__device__ inline float* shared_floats() {
  extern __shared__ float4 anser_shared[];
  return reinterpret_cast<float*>(anser_shared);
}

// Queues a kernel. `programmatic`: it may begin before its predecessor has ended.
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
  config.numAttrs = 1;
  // More than the 48 KiB that any block may have must be asked for, once for a kernel.
  cudaError_t error = cudaSuccess;
  if (shared > 48 * 1024) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
  }
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, args);
  if (error != cudaSuccess) kernel_failed(cudaGetErrorString(error));
}

}  // namespace anser::cuda

#else

#include <emulator.h>  // of the build that compiles kernels as C++

#endif
