// The engine on an NVIDIA GPU, as far as this build has it: cuda_engine.cpp or no_cuda.cpp.
#pragma once

#include <memory>

#include "anser/engine.h"

namespace anser {

// Throws Error where there is no device that can be used, or no room on it.
std::unique_ptr<Engine> make_cuda_engine(const Model& model, const EngineOptions& options);

// What the first device can do at the most, each measured in less than a second: GB/s read from its
// memory; GFLOP/s of matrix products of f16, summed in fp32. Throw Error like make_cuda_engine().
double measure_cuda_stream_gb_s();
double measure_cuda_peak_gflop_s();

}  // namespace anser
