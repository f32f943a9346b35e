// Eight neighbouring weights of a line, the unit in which kernels read matrices: 16 bytes in f16.
// load() only asks for the bytes, so that many loads are on their way before the first use.
//
//   load(matrix, line, octet)   octet `octet` of a line
//   widen(to)                   as eight floats
//   pairs<F>(to)                as four words of two numbers in F, f16 or bf16: what tensor cores
//   take
//
// kAcross: the matrix is transposed, so that groups of codes run across its lines.
#pragma once

#include "cuda/device_matrix.h"
#include "cuda/kernels/device.h"

namespace anser::cuda {

template <Format F, bool kAcross>
struct Octet;

template <Format F>
__device__ inline void pack_pairs(const float* from, uint32_t* to) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[i] = to_half<F>(from[2 * i]) | uint32_t(to_half<F>(from[2 * i + 1])) << 16;
  }
}

// Number i of eight 16-bit ones.
__device__ inline uint16_t half_of(const uint4& words, int i) {
  const uint32_t w = i < 2 ? words.x : i < 4 ? words.y : i < 6 ? words.z : words.w;
  return uint16_t(w >> i % 2 * 16);
}

template <bool kAcross>
struct Octet<Format::f32, kAcross> {
  float4 a, b;
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    const auto* at = static_cast<const float4*>(m.codes) + (line * m.stride + 8 * octet) / 4;
    a = at[0];
    b = at[1];
  }
  __device__ void widen(float* to) const {
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
    to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
  }
  template <Format F>
  __device__ void pairs(uint32_t* to) const {
    float numbers[8];
    widen(numbers);
    pack_pairs<F>(numbers, to);
  }
};

// Numbers of 16 bits, of format kOwn.
template <Format kOwn>
struct Halves {
  uint4 words;
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    words = static_cast<const uint4*>(m.codes)[(line * m.stride + 8 * octet) / 8];
  }
  __device__ void widen(float* to) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint16_t half = half_of(words, i);
      to[i] = kOwn == Format::f16 ? from_f16(half) : from_bf16(half);
    }
  }
  template <Format F>
  __device__ void pairs(uint32_t* to) const {
    if constexpr (F == kOwn) {
      to[0] = words.x, to[1] = words.y, to[2] = words.z, to[3] = words.w;
    } else {
      float numbers[8];
      widen(numbers);
      pack_pairs<F>(numbers, to);
    }
  }
};
template <bool kAcross>
struct Octet<Format::f16, kAcross> : Halves<Format::f16> {};
template <bool kAcross>
struct Octet<Format::bf16, kAcross> : Halves<Format::bf16> {};

// The scale and minimum of an octet's codes: one for all of them,
template <bool kAcross>
struct Scales {
  uint16_t scale, minimum;
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    const int64_t at = line * (m.stride / m.group) + 8 * octet / m.group;
    scale = m.scales[at];
    minimum = m.minima != nullptr ? m.minima[at] : 0;
  }
  __device__ uint16_t scale_of(int) const { return scale; }
  __device__ uint16_t minimum_of(int) const { return minimum; }
};
// or one for each.
template <>
struct Scales<true> {
  uint4 scale, minimum;
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    const int64_t at = (line / m.group * m.stride + 8 * octet) / 8;
    scale = reinterpret_cast<const uint4*>(m.scales)[at];
    minimum =
        m.minima != nullptr ? reinterpret_cast<const uint4*>(m.minima)[at] : uint4{0, 0, 0, 0};
  }
  __device__ uint16_t scale_of(int i) const { return half_of(scale, i); }
  __device__ uint16_t minimum_of(int i) const { return half_of(minimum, i); }
};

// 1024 + u in f16 is 0x6400 + u for u below 1024: bytes become numbers by being moved.
__device__ inline void bytes_to_pairs(uint32_t bytes, uint32_t offset_pair, uint32_t* to) {
  to[0] = subtract_pairs(pick_bytes(bytes, 0x64646464, 0x4140), offset_pair);
  to[1] = subtract_pairs(pick_bytes(bytes, 0x64646464, 0x4342), offset_pair);
}

// Codes: `Word` holds the eight; Unpack says how.
template <class Word, class Unpack, bool kAcross>
struct Coded {
  Word codes;
  Scales<kAcross> scales;
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    codes = static_cast<const Word*>(m.codes)[(line * m.stride + 8 * octet) / 8];
    scales.load(m, line, octet);
  }
  __device__ void widen(float* to) const {
    Unpack::floats(codes, to);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      to[i] = to[i] * from_f16(scales.scale_of(i)) - from_f16(scales.minimum_of(i));
    }
  }
  template <Format F>
  __device__ void pairs(uint32_t* to) const {
    if constexpr (F == Format::f16) {
      // Codes have at most 8 bits, which f16 has exactly; code * scale - minimum is rounded once.
      Unpack::f16_pairs(codes, to);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto two = [i](const auto& of) { return of(2 * i) | uint32_t(of(2 * i + 1)) << 16; };
        to[i] = fma_pairs(to[i], two([&](int n) { return scales.scale_of(n); }),
                          two([&](int n) { return scales.minimum_of(n); }) ^ 0x80008000);
      }
    } else {
      float numbers[8];
      widen(numbers);
      pack_pairs<F>(numbers, to);
    }
  }
};

struct UnpackBytes {
  __device__ static void floats(const uint2& codes, float* to) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      to[i] = float(int8_t(codes.x >> 8 * i));
      to[4 + i] = float(int8_t(codes.y >> 8 * i));
    }
  }
  __device__ static void f16_pairs(const uint2& codes, uint32_t* to) {
    // A flipped sign makes codes from -128 up ones from 0 up; 0x6480 is 1024 + 128.
    bytes_to_pairs(codes.x ^ 0x80808080, 0x64806480, to);
    bytes_to_pairs(codes.y ^ 0x80808080, 0x64806480, to + 2);
  }
};
struct UnpackNibbles {
  __device__ static void floats(uint32_t codes, float* to) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      to[i] = float(codes >> 8 * i & 15);
      to[4 + i] = float(codes >> (8 * i + 4) & 15);
    }
  }
  __device__ static void f16_pairs(uint32_t codes, uint32_t* to) {
    bytes_to_pairs(codes & 0x0f0f0f0f, 0x64006400, to);
    bytes_to_pairs(codes >> 4 & 0x0f0f0f0f, 0x64006400, to + 2);
  }
};
template <bool kAcross>
struct Octet<Format::bytes, kAcross> : Coded<uint2, UnpackBytes, kAcross> {};
template <bool kAcross>
struct Octet<Format::nibbles, kAcross> : Coded<uint32_t, UnpackNibbles, kAcross> {};

// Calls work(Octet<F, kAcross>()) for a format that is known when the kernel runs. All threads of a
// block take the same way.
template <bool kAcross, class Work>
__device__ void with_octet(Format format, Work&& work) {
  switch (format) {
    case Format::f32:
      return work(Octet<Format::f32, kAcross>());
    case Format::f16:
      return work(Octet<Format::f16, kAcross>());
    case Format::bf16:
      return work(Octet<Format::bf16, kAcross>());
    case Format::bytes:
      return work(Octet<Format::bytes, kAcross>());
    case Format::nibbles:
      return work(Octet<Format::nibbles, kAcross>());
  }
}

// Asks for the numbers or codes of `count` lines from `first` on, by the whole block.
__device__ inline void prefetch_lines(const DeviceMatrix& m, int first, int count) {
  const int64_t line_bytes = int64_t(m.stride) * bits_of(m.format) / 8;
  const char* from = static_cast<const char*>(m.codes) + first * line_bytes;
  for (int64_t at = int64_t(threadIdx.x) * kCacheLine; at < count * line_bytes;
       at += int64_t(blockDim.x) * kCacheLine) {
    prefetch(from + at);
  }
}

// In shared memory numbers that octets are multiplied with lie with all first halves of octets
// before all second halves, so that neighbouring lanes read neighbouring 16 bytes.
__device__ inline int split_octets(int c, int padded) {
  return (c >> 2 & 1) * (padded / 2) + (c >> 3) * 4 + (c & 3);
}

}  // namespace anser::cuda
