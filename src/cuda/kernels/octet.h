// Eight neighbouring weights of a line, the unit in which kernels read matrices: 16 bytes in f16.
// load() only asks for the bytes, so that many loads are on their way before the first widen().
#pragma once

#include "cuda/device_matrix.h"
#include "cuda/kernels/device.h"

namespace anser::cuda {

template <Format F>
struct Octet;

template <>
struct Octet<Format::f32> {
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
};

// Two 16-bit floats in each of four words.
struct HalfWords {
  uint4 words;
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    words = static_cast<const uint4*>(m.codes)[(line * m.stride + 8 * octet) / 8];
  }
};

template <>
struct Octet<Format::f16> : HalfWords {
  __device__ void widen(float* to) const {
    const uint32_t w[4] = {words.x, words.y, words.z, words.w};
    for (int i = 0; i < 4; ++i) {
      to[2 * i] = from_f16(uint16_t(w[i]));
      to[2 * i + 1] = from_f16(uint16_t(w[i] >> 16));
    }
  }
};

template <>
struct Octet<Format::bf16> : HalfWords {
  __device__ void widen(float* to) const {
    const uint32_t w[4] = {words.x, words.y, words.z, words.w};
    for (int i = 0; i < 4; ++i) {
      to[2 * i] = from_bf16(uint16_t(w[i]));
      to[2 * i + 1] = from_bf16(uint16_t(w[i] >> 16));
    }
  }
};

// Codes, and the scale and minimum of a line's octet: one each, or one for each of the eight where
// the groups run across the lines. CodeWord: the eight codes.
template <class CodeWord>
struct Coded {
  CodeWord codes;
  bool transposed;
  uint16_t scale[8], minimum[8];
  __device__ void load(const DeviceMatrix& m, int64_t line, int octet) {
    codes = static_cast<const CodeWord*>(m.codes)[(line * m.stride + 8 * octet) / 8];
    transposed = m.transposed;
    if (m.transposed) {
      const int64_t at = line / m.group * m.stride + 8 * octet;
      for (int i = 0; i < 8; ++i) scale[i] = m.scales[at + i];
      for (int i = 0; i < 8; ++i) minimum[i] = m.minima != nullptr ? m.minima[at + i] : 0;
    } else {
      const int64_t at = line * (m.stride / m.group) + 8 * octet / m.group;
      scale[0] = m.scales[at];
      minimum[0] = m.minima != nullptr ? m.minima[at] : 0;
    }
  }
  __device__ void apply_scales(float* to) const {
    float d = 0, low = 0;
    for (int i = 0; i < 8; ++i) {
      if (i == 0 || transposed) {
        d = from_f16(scale[i]);
        low = from_f16(minimum[i]);
      }
      to[i] = to[i] * d - low;
    }
  }
};

template <>
struct Octet<Format::bytes> : Coded<uint2> {
  __device__ void widen(float* to) const {
    for (int i = 0; i < 4; ++i) {
      to[i] = float(int8_t(codes.x >> 8 * i));
      to[4 + i] = float(int8_t(codes.y >> 8 * i));
    }
    apply_scales(to);
  }
};

template <>
struct Octet<Format::nibbles> : Coded<uint32_t> {
  __device__ void widen(float* to) const {
    for (int i = 0; i < 8; ++i) to[i] = float(codes >> 4 * i & 15);
    apply_scales(to);
  }
};

// Calls work(Octet<F>()) for a format that is known when the kernel runs. All threads of a block
// take the same way.
template <class Work>
__device__ void with_octet(Format format, Work&& work) {
  switch (format) {
    case Format::f32:
      return work(Octet<Format::f32>());
    case Format::f16:
      return work(Octet<Format::f16>());
    case Format::bf16:
      return work(Octet<Format::bf16>());
    case Format::bytes:
      return work(Octet<Format::bytes>());
    case Format::nibbles:
      return work(Octet<Format::nibbles>());
  }
}

// In shared memory numbers that octets are multiplied with lie with all first halves of octets
// before all second halves, so that neighbouring lanes read neighbouring 16 bytes.
__device__ inline int split_octets(int c, int padded) {
  return (c >> 2 & 1) * (padded / 2) + (c >> 3) * 4 + (c & 3);
}

}  // namespace anser::cuda
