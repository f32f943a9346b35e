// What this machine's processor and operating system can do.
#pragma once

namespace anser {

struct CpuFeatures {
  bool avx2_fma_f16c = false;      // AVX2, FMA and F16C, and the system saves the ymm registers
  bool avx512_f_bw_dq_vl = false;  // AVX-512 F, BW, DQ, VL, and the system saves the zmm registers
  bool avx512_vnni = false;        // and dot products of bytes
  bool dotprod = false;            // aarch64: NEON has dot products of bytes
  bool i8mm = false;               // and matrix products of bytes
};

CpuFeatures detect_cpu_features();

}  // namespace anser
