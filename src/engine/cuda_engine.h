// The engine on an NVIDIA GPU, as far as this build has it: cuda_engine.cpp or no_cuda.cpp.
#pragma once

#include <memory>

#include "anser/engine.h"

namespace anser {

// Throws Error where there is no device that can be used, or no room on it.
std::unique_ptr<Engine> make_cuda_engine(const Model& model, const EngineOptions& options);

// What the first device can do at the most, measured in about a second.
struct CudaSpeed {
  double stream_gb_s;   // read from its memory
  double peak_gflop_s;  // matrix products of f16, summed in fp32
};
CudaSpeed measure_cuda_speed();

}  // namespace anser
