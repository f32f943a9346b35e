#include "anser/engine.h"

#include <fmt/format.h>

#include "anser/error.h"
#include "base/thread_pool.h"
#include "cpu/dispatch.h"
#include "engine/cpu_engine.h"

namespace anser {

std::unique_ptr<Engine> Engine::create(const Model& model, const EngineOptions& options) {
  if (options.device == Device::cuda) {
    throw Error("this program was built without CUDA; use the CPU (--device cpu)");
  }
  if (options.threads < 0 || options.threads > 1024) {
    throw Error(fmt::format("threads: expected 0 (all cores) to 1024, found {}", options.threads));
  }
  if (options.max_rows < 1 || options.max_rows > 65536) {
    throw Error(fmt::format("max_rows: expected 1 to 65536, found {}", options.max_rows));
  }
  const int threads = options.threads == 0 ? usable_cores() : options.threads;
  return std::make_unique<CpuEngine>(model, threads, options.max_rows, choose_kernels());
}

}  // namespace anser
