// Where CUDA was not built in: no GPU or no toolkit was there, or it was not wanted.
#include "anser/error.h"
#include "engine/cuda_engine.h"

namespace anser {

CudaDevices cuda_devices() {
  return {{},
          "this program was built without CUDA; cmake -DANSER_CUDA=ON builds it in, where nvcc is "
          "on the PATH"};
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
