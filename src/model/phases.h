// What the phases of a step (model/forward.h) have to do, and a clock around each of them.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

#include "anser/model.h"
#include "model/forward.h"
#include "model/rows.h"
#include "model/weights.h"

namespace anser {

enum class Phase { embed, project, recur, output, expand, contract, logits };
constexpr int kPhases = 7;
const char* phase_name(Phase phase);
// Those between the embedding and the logits happen once in every layer.
constexpr bool in_every_layer(Phase phase) {
  return phase != Phase::embed && phase != Phase::logits;
}

// Of a step, all layers together.
using PhaseSeconds = std::array<double, kPhases>;

// The least that a step must do: bytes of weights, read once, and of states; operations of the
// matrices, a multiply-add counting as two. Activations count as neither.
struct PhaseWork {
  size_t bytes = 0;
  double flops = 0;
};
// `rows`: tokens of as many sequences. `wanted`: logits. `state_bytes`: of one state as it is kept.
// `skipped`: the share of the channel mix's second matrix that no row needs.
std::array<PhaseWork, kPhases> phase_work(const Weights& weights, const Hyperparameters& h,
                                          int rows, int sequences, int wanted, size_t state_bytes,
                                          double skipped);

// A backend that runs the phases of another and adds up how long each took to return: what the CPU
// spends on it, since there a phase has ended when it returns.
template <Backend B>
class PhaseClock {
 public:
  explicit PhaseClock(B& inner) : inner_(inner) {}

  int layers() const { return inner_.layers(); }
  void embed(const Rows& rows) {
    time(Phase::embed, [&] { inner_.embed(rows); });
  }
  void project(int layer, const Rows& rows) {
    time(Phase::project, [&] { inner_.project(layer, rows); });
  }
  void recur(int layer, const Rows& rows) {
    time(Phase::recur, [&] { inner_.recur(layer, rows); });
  }
  void output(int layer, const Rows& rows) {
    time(Phase::output, [&] { inner_.output(layer, rows); });
  }
  void expand(int layer, const Rows& rows) {
    time(Phase::expand, [&] { inner_.expand(layer, rows); });
  }
  void contract(int layer, const Rows& rows) {
    time(Phase::contract, [&] { inner_.contract(layer, rows); });
  }
  void logits(const Rows& rows) {
    time(Phase::logits, [&] { inner_.logits(rows); });
  }

  const PhaseSeconds& seconds() const { return seconds_; }

 private:
  template <class Work>
  void time(Phase phase, Work&& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    seconds_[size_t(phase)] += taken.count();
  }

  B& inner_;
  PhaseSeconds seconds_ = {};
};

}  // namespace anser
