// The yardsticks: what the selected device can do at the most.
#pragma once

#include <cstddef>

namespace anser::cuda {

// GB/s (1e9) of reading `bytes` that no cache holds, the best of some passes.
double measure_stream_gb_s(size_t bytes = size_t{2} << 30);

// GFLOP/s of products of f16 with fp32 sums, of square matrices of `size`, a multiply-add counting
// as two. The best of some. Without cuBLASLt by this program's own product, which says what it can
// do rather than what the device can.
double measure_peak_gflop_s(int size = 8192);

}  // namespace anser::cuda
