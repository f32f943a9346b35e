// How long each phase takes on the device.
#include <algorithm>
#include <chrono>
#include <utility>

#include "cuda/cuda_backend.h"

namespace anser {

// A phase is recorded by itself, for all layers one after the other, and the recording repeated:
// no host and no clock between its kernels, as in a replayed step, and other weights in each layer,
// so that no cache helps where a phase's weights are more than the level 2 cache holds. It leaves
// out what kernels of different phases gain by beginning before their predecessor has ended.
PhaseSeconds CudaBackend::time_phases(const Rows& rows) {
  using namespace cuda;
  constexpr int kPasses = 5, kLaunches = 4;  // the median pass counts; launches of a pass overlap
  // A plain step: its tables are on the device then, and its GEMMs are chosen.
  const bool traced = std::exchange(traced_, true);
  forward(*this, rows);
  traced_ = traced;
  wait();
  const auto seconds_of = [&](auto&& queue) {
    queueing_ = recording_ = true;  // should queue() throw, the next embed() ends the recording
    stream_.begin_recording();
    queue();
    const Graph graph = stream_.end_recording();
    queueing_ = recording_ = false;
    stream_.launch(graph);
    stream_.wait();
    double seconds[kPasses];
    for (double& pass : seconds) {
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < kLaunches; ++i) stream_.launch(graph);
      stream_.wait();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      pass = taken.count() / kLaunches;
    }
    std::nth_element(seconds, seconds + kPasses / 2, seconds + kPasses);
    return seconds[kPasses / 2];
  };
  const auto all_layers = [&](void (CudaBackend::*phase)(int, const Rows&)) {
    return seconds_of([&] {
      for (int layer = 0; layer < layers(); ++layer) (this->*phase)(layer, rows);
    });
  };
  const uint64_t hidden = hidden_;
  const PhaseSeconds seconds = {
      seconds_of([&] {
        const StepTable step = {tables_.rows, tables_.runs, rows_, 0};
        cuda::embed(stream_.handle(), {step, weights_.emb, norm(weights_.ln0), act_.x});
      }),
      all_layers(&CudaBackend::project),
      all_layers(&CudaBackend::recur),
      all_layers(&CudaBackend::output),
      all_layers(&CudaBackend::expand),
      all_layers(&CudaBackend::contract),
      seconds_of([&] { queue_logits(0, std::min(int(rows.wanted.size()), kLogitRows)); }),
  };
  // The device counted what is not zero in every launch, the host the recording only.
  hidden_ += (hidden_ - hidden) * uint64_t(kPasses * kLaunches);
  return seconds;
}

}  // namespace anser
