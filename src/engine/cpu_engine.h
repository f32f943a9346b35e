// The engine on the CPU: packs sequences into rows and runs the forward pass over them.
#pragma once

#include <string>
#include <vector>

#include "anser/engine.h"
#include "cpu/cpu_backend.h"

namespace anser {

class CpuEngine final : public Engine {
 public:
  CpuEngine(const Model& model, int threads, int max_rows, const Kernels& kernels);

  using Engine::forward;
  void forward(std::span<const Sequence> batch) override;

  const Model& model() const override { return model_; }
  int threads() const override { return threads_; }
  std::string backend() const override { return backend_.kernels().name; }
  size_t step_bytes(int rows) const override;
  double zero_share() const override { return backend_.zero_share(); }

 private:
  void check(std::span<const Sequence> batch);
  void feed(std::span<const Sequence> batch);
  void check_finite(std::span<const Sequence> batch) const;

  const Model model_;
  const int threads_;
  CpuBackend backend_;

  // Scratch of one forward call, kept so that a step allocates nothing.
  std::vector<const State*> states_;
  std::vector<Token> tokens_;
  std::vector<Run> runs_;
  std::vector<LogitRow> wanted_;
};

}  // namespace anser
