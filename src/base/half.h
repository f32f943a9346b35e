// fp16 (IEEE binary16) and bf16 (the upper half of binary32) as bit patterns, to and from fp32.
//
// Widening is exact, subnormals included. Narrowing rounds to nearest, ties to even; what is too
// large becomes infinity, a NaN stays a NaN of the same sign (quiet). Integer arithmetic only, so
// the result does not depend on the floating-point mode (flush to zero, rounding).
//
// Not for src/cpu/isa: an inline function there could be emitted as a weak symbol compiled for
// AVX-512. The instruction sets have their own widening loads.
#pragma once

#include <bit>
#include <cstdint>

namespace anser {

namespace half_detail {

constexpr uint32_t kInfinity = 0x7f800000;  // of fp32, as bits

// m / 2^shift, rounded to nearest, ties to even. 1 <= shift <= 31, and no overflow of m + 2^shift.
constexpr uint32_t round_shift(uint32_t m, int shift) {
  const uint32_t below_half = (uint32_t{1} << (shift - 1)) - 1;
  const uint32_t odd = (m >> shift) & 1;
  return (m + below_half + odd) >> shift;
}

}  // namespace half_detail

constexpr float f16_to_f32(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 31) {
    const uint32_t quiet = mantissa != 0 ? 0x400000 : 0;
    return std::bit_cast<float>(sign | half_detail::kInfinity | mantissa << 13 | quiet);
  }
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  if (mantissa == 0) return std::bit_cast<float>(sign);
  // Subnormal: mantissa * 2^-24. Its leading one at bit b becomes the hidden one of 2^(b - 24).
  const int b = std::bit_width(mantissa) - 1;
  const uint32_t fraction = (mantissa << (23 - b)) & 0x7fffff;
  return std::bit_cast<float>(sign | uint32_t(b - 24 + 127) << 23 | fraction);
}

constexpr uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > half_detail::kInfinity) {
    return uint16_t(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  }
  // 65520 lies halfway between the largest half, 65504, and the 65536 after it.
  if (magnitude >= std::bit_cast<uint32_t>(65520.0f)) return sign | 0x7c00;
  const int exponent = int(magnitude >> 23) - 127;
  if (exponent >= -14) {
    // A carry out of the mantissa moves into the exponent, which is what rounding up means.
    return uint16_t(sign | half_detail::round_shift(magnitude - (uint32_t{112} << 23), 13));
  }
  // Subnormal: in units of 2^-24. Below half a unit there is nothing to shift.
  if (exponent < -25) return sign;
  const uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;  // value = mantissa 2^(exponent-23)
  return uint16_t(sign | half_detail::round_shift(mantissa, -1 - exponent));
}

constexpr float bf16_to_f32(uint16_t bf16) {
  return std::bit_cast<float>(uint32_t(bf16) << 16);
}

constexpr uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  // Rounding could carry a NaN's mantissa into infinity.
  if ((bits & 0x7fffffff) > half_detail::kInfinity) return uint16_t(bits >> 16 | 0x40);
  const uint32_t magnitude = bits & 0x7fffffff;
  return uint16_t((bits >> 16 & 0x8000) | half_detail::round_shift(magnitude, 16));
}

}  // namespace anser
