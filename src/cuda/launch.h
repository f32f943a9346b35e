// What launchers have in common.
#pragma once

#include <cstdint>

#include "cuda/kernels.h"
#include "cuda/kernels/device.h"

namespace anser::cuda {

inline int divide_up(int64_t n, int64_t by) {
  return int((n + by - 1) / by);
}

// Enough blocks of `threads` for a thread to each of `count`, or to fill any card: then they go on
// in steps of the grid.
inline dim3 grid_over(int64_t count, int threads) {
  const int64_t blocks = (count + threads - 1) / threads;
  return dim3(unsigned(blocks < 1 ? 1 : blocks < 4096 ? blocks : 4096));
}

}  // namespace anser::cuda
