// Where the CUDA toolkit was not found at build time.
#include "anser/error.h"
#include "engine/cuda_engine.h"

namespace anser {

CudaDevices cuda_devices() {
  return {{}, "this program was built without CUDA; build it where nvcc is on the PATH"};
}

std::unique_ptr<Engine> make_cuda_engine(const Model&, const EngineOptions&) {
  throw Error(cuda_devices().why_none + ", or use the CPU (--device cpu)");
}

double measure_cuda_stream_gb_s() {
  throw Error(cuda_devices().why_none);
}

double measure_cuda_peak_gflop_s() {
  throw Error(cuda_devices().why_none);
}

}  // namespace anser
