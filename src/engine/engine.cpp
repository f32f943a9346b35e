#include "anser/engine.h"

#include <fmt/format.h>

#include "anser/error.h"
#include "base/thread_pool.h"
#include "cpu/dispatch.h"
#include "engine/cpu_engine.h"
#include "engine/cuda_engine.h"

namespace anser {

std::unique_ptr<Engine> Engine::create(const Model& model, const EngineOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    throw Error(fmt::format("threads: expected 0 (all cores) to 1024, found {}", options.threads));
  }
  if (options.max_rows < 0 || options.max_rows > 65536) {
    throw Error(fmt::format("max_rows: expected 0 (the device's choice) to 65536, found {}",
                            options.max_rows));
  }
  const bool cuda = options.device == Device::cuda ||
                    (options.device == Device::automatic && !cuda_devices().usable.empty());
  if (cuda) return make_cuda_engine(model, options);
  if (options.state16) {
    throw Error(
        "states in 16 bits (state16) are for NVIDIA GPUs, the CPU keeps them in 32: use "
        "--device cuda, or leave --state16 out");
  }
  const int rows = options.max_rows == 0 ? 256 : options.max_rows;
  const int threads = options.threads == 0 ? usable_cores() : options.threads;
  return std::make_unique<CpuEngine>(model, threads, rows, choose_kernels());
}

void Engine::sample(std::span<Draw> draws) {
  for (Draw& draw : draws) {
    const State& state = *draw.state;
    if (!state.has_logits()) throw Error("the state has no logits to sample from; feed it a token");
    draw.token = draw.sampler->sample(state.logits());
  }
}

void Engine::for_each(size_t count, const std::function<void(size_t)>& work) {
  ThreadPool(1).for_each(count, [&](size_t i, int) { work(i); });
}

}  // namespace anser
