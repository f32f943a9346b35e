// Activations as codes, in the layout that kernels.h says.
#pragma once

#include "cuda/kernels.h"
#include "cuda/kernels/device.h"

namespace anser::cuda {

// An input of a product of integers: `numbers` of them are rows times inputs.
struct CodedRows {
  const int8_t* codes;
  const float2* scales;  // x: the scale, y: the scale times the sum of the codes

  __device__ CodedRows(const void* at, int64_t numbers)
      : codes(static_cast<const int8_t*>(at)),
        scales(reinterpret_cast<const float2*>(codes + numbers)) {}
};

// Numbers [first, first + count) of `numbers`, both multiples of a group, become codes; number(i)
// is the i-th of them. `thread` of `threads`, whole warps, all of which call this: four
// neighbouring lanes have a group, eight numbers each.
template <class Number>
__device__ void store_codes(void* to, int64_t numbers, int64_t first, int64_t count, int64_t thread,
                            int64_t threads, Number number) {
  auto* codes = static_cast<uint2*>(to);
  auto* scales = reinterpret_cast<float2*>(static_cast<int8_t*>(to) + numbers);
  const int lane = int(threadIdx.x) % 32;
  for (int64_t octet = thread; 8 * (octet - lane) < count; octet += threads) {
    const bool inside = 8 * octet < count;
    float x[8];
    uint32_t most = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      x[i] = inside ? number(8 * octet + i) : 0;
      // As bits, which are ordered like the magnitudes that they are of, with NaN above all.
      const uint32_t magnitude = bits_of(x[i]) & 0x7fffffff;
      most = magnitude > most ? magnitude : most;
    }
    const float largest = from_bits(quad_max(most));
    // What is not finite makes the scale so. 127 / largest would overflow for what is as good as 0.
    const float inverse = largest > 1e-35f && largest <= 3e38f ? 127 / largest : 0;
    uint32_t words[2] = {0, 0};
    int sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int code = inverse > 0 ? int(rintf(x[i] * inverse)) : 0;
      sum += code;
      words[i / 4] |= uint32_t(code & 255) << i % 4 * 8;
    }
    const float scale = largest / 127, of_group = quad_sum(float(sum));
    if (!inside) continue;
    codes[first / 8 + octet] = {words[0], words[1]};
    if (octet % 4 == 0) scales[(first / 8 + octet) / 4] = {scale, scale * of_group};
  }
}

}  // namespace anser::cuda
