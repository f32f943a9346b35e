#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace anser {

#if defined(__x86_64__)

namespace {

// XCR0: the register sets that the operating system saves at a context switch. The instruction
// itself, since the intrinsic would need this file compiled with -mxsave.
uint64_t saved_registers() {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

constexpr uint64_t kYmmState = 0x06;  // xmm and the upper halves of ymm
constexpr uint64_t kZmmState = 0xe6;  // those, the mask registers and both parts of zmm

constexpr bool all(uint64_t value, uint64_t bits) {
  return (value & bits) == bits;
}

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return features;
  // bit_OSXSAVE: xgetbv may be used.
  if (!all(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return features;
  const uint64_t saved = saved_registers();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return features;
  features.avx2_fma_f16c = all(saved, kYmmState) && all(b, bit_AVX2);
  features.avx512_f_bw_dq_vl =
      features.avx2_fma_f16c && all(saved, kZmmState) &&
      all(b, uint64_t{bit_AVX512F} | bit_AVX512BW | bit_AVX512DQ | unsigned(bit_AVX512VL));
  features.avx512_vnni = features.avx512_f_bw_dq_vl && all(c, bit_AVX512VNNI);
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
  features.dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  features.i8mm = features.dotprod && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  return features;
}

#else

CpuFeatures detect_cpu_features() {
  return {};
}

#endif

}  // namespace anser
