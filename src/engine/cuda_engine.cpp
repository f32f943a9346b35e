#include "engine/cuda_engine.h"

#include <fmt/format.h>

#include "cuda/cuda_backend.h"
#include "cuda/speed.h"
#include "engine/backend_engine.h"

namespace anser {

static_assert(Backend<CudaBackend>);

std::unique_ptr<Engine> make_cuda_engine(const Model& model, const EngineOptions& options) {
  return std::make_unique<BackendEngine<CudaBackend>>(model, options);
}

CudaDevices cuda_devices() {
  CudaDevices found;
  for (const cuda::DeviceInfo& device : cuda::usable_devices(found.why_none)) {
    found.usable.push_back(fmt::format(
        "{}, compute capability {}.{}, {:.1f} of {:.1f} GB free", device.name, device.major,
        device.minor, double(device.free_bytes) * 1e-9, double(device.total_bytes) * 1e-9));
  }
  return found;
}

double measure_cuda_stream_gb_s() {
  return cuda::measure_stream_gb_s();
}

double measure_cuda_peak_gflop_s() {
  return cuda::measure_peak_gflop_s();
}

}  // namespace anser
