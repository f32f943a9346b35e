// The engine over any backend: packs sequences into rows, runs the forward pass over them, and
// answers for what comes in and goes out.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "anser/engine.h"
#include "anser/error.h"
#include "base/thread_pool.h"
#include "engine/host_sampling.h"
#include "model/forward.h"
#include "model/load_weights.h"
#include "model/phases.h"
#include "model/rows.h"
#include "model/weights.h"

namespace anser {

// Besides the phases a backend has max_rows(), threads(), name(), few_rows() (up to which it skips
// weights whose h is zero), state_bytes() (of a state as it is kept), zero_share(), kDevice and
// kKeepsLogits.
//   kKeepsLogits false: logits() writes to the host, and the engine looks at them with
//   all_finite(), and draws from them on the threads of pool(), as it does for_each(). kKeepsLogits
//   true: what goes to a state's logits stays with the backend, and steps may still be
//     running when logits() returns. wait() waits for them and throws where a result is not finite,
//     and candidates() brings the sampler what it needs.
// Where it has a type Observed, that is a backend over it which fills Run::trace.
template <Backend B>
class BackendEngine final : public Engine {
 public:
  template <class... Args>
  explicit BackendEngine(const Model& model, Args&&... args)
      : model_(model), backend_(model, std::forward<Args>(args)...) {
    check_low_rank_finite(model);
    const size_t rows = size_t(backend_.max_rows());
    tokens_.reserve(rows);
    runs_.reserve(rows);
    wanted_.reserve(rows);
    states_.reserve(rows);
  }

  using Engine::forward;
  using Engine::sample;
  void forward(std::span<const Sequence> batch) override;

  void wait() override {
    if constexpr (B::kKeepsLogits) backend_.wait();
  }
  void sample(std::span<Draw> draws) override;
  void for_each(size_t count, const std::function<void(size_t)>& work) override;

  const Model& model() const override { return model_; }
  Device device() const override { return B::kDevice; }
  int threads() const override { return backend_.threads(); }
  std::string backend() const override { return backend_.name(); }
  size_t step_bytes(int rows) const override;
  std::vector<PhaseTime> phase_times(std::span<const Sequence> batch) override;
  double zero_share() const override { return backend_.zero_share(); }

 private:
  static constexpr bool kTraces = requires { typename B::Observed; };

  void check(std::span<const Sequence> batch);
  // The state has read the tokens.
  void note_read(const Sequence& s) const;
  // Cuts the batch into pieces of at most max_rows rows, sequence after sequence, for run(rows).
  template <class Run>
  void feed(std::span<const Sequence> batch, Run&& run);
  // The share of the channel mix's second matrix that no row of so many needs.
  double skipped_share(int rows) const;
  void check_finite(std::span<const Sequence> batch);

  const Model model_;
  B backend_;

  // Scratch of one forward call, kept so that a step allocates nothing.
  std::vector<const State*> states_;
  std::vector<Token> tokens_;
  std::vector<Run> runs_;
  std::vector<LogitRow> wanted_;
  struct Row {
    const float* logits;  // [V]
    uint64_t tokens;      // read by then
  };
  std::vector<Row> finite_;  // rows that should be
  // Of one sample call; of a backend that keeps no logits, and of one that does.
  HostSampling host_sampling_;
  std::vector<const float*> rows_;
  std::vector<CandidateQuery> queries_;
};

template <Backend B>
void BackendEngine<B>::check(std::span<const Sequence> batch) {
  const Hyperparameters& h = model_.hyperparameters();
  const StateShape shape = {h.layers, h.width, h.heads, h.head_size};
  for (size_t i = 0; i < batch.size(); ++i) {
    const Sequence& s = batch[i];
    const auto fail = [&](const std::string& what) {
      throw Error(batch.size() == 1 ? what : fmt::format("sequence {}: {}", i, what));
    };
    if (s.state == nullptr) fail("it has no state");
    if (s.state->shape() != shape || s.state->fingerprint() != model_.fingerprint()) {
      fail(
          fmt::format("the state belongs to another model than {}; start from "
                      "Model::initial_state()",
                      model_.name()));
    }
    if (s.state->identity_known() && s.state->sketch() != model_.sketch()) {
      model_.check_state(
          *s.state, batch.size() == 1 ? "the state" : fmt::format("sequence {}: the state", i));
    }
    if (s.tokens.empty()) fail("no tokens to feed");
    if (s.trace != nullptr && !kTraces) {
      fail("what tokens do to a state can be traced on the CPU only; use --device cpu");
    }
    if (s.wanted == LogitsFor::all && s.logits == nullptr) {
      fail("all logits are wanted, but there is nowhere to write them");
    }
    for (const Token token : s.tokens) {
      if (token < 0 || token >= h.vocab) {
        fail(fmt::format("token {} is outside the vocabulary, 0 to {}", token, h.vocab - 1));
      }
    }
  }
  states_.clear();
  for (const Sequence& s : batch) states_.push_back(s.state);
  std::sort(states_.begin(), states_.end());
  if (std::adjacent_find(states_.begin(), states_.end()) != states_.end()) {
    throw Error("two sequences of a batch share one state; give each a copy of its own");
  }
}

template <Backend B>
void BackendEngine<B>::forward(std::span<const Sequence> batch) {
  check(batch);
  const size_t V = size_t(model_.hyperparameters().vocab);
  if constexpr (!B::kKeepsLogits) {
    for (const Sequence& s : batch) {
      s.state->logits().resize(s.wanted == LogitsFor::none ? 0 : V);
    }
  }
  const FlushDenormals flush;
  const bool traced = std::ranges::any_of(batch, &Sequence::trace);
  feed(batch, [&](const Rows& rows) {
    if constexpr (kTraces) {
      if (traced) {
        typename B::Observed observed(backend_);
        return anser::forward(observed, rows);
      }
    }
    anser::forward(backend_, rows);
  });
  for (const Sequence& s : batch) {
    if constexpr (B::kKeepsLogits) s.state->take_logits(s.wanted == LogitsFor::last ? V : 0);
    if (s.wanted == LogitsFor::all) {
      const float* last = s.logits + (s.tokens.size() - 1) * V;
      s.state->logits().assign(last, last + V);
    }
    note_read(s);
    if (s.state->sketch() != model_.sketch()) s.state->belongs_to(model_.sketch());
  }
  if constexpr (B::kKeepsLogits) {
    // Who has rows on the host already shall not have to wait for their error.
    const auto on_host = [](const Sequence& s) { return s.wanted == LogitsFor::all; };
    if (std::any_of(batch.begin(), batch.end(), on_host)) wait();
  } else {
    check_finite(batch);
  }
}

template <Backend B>
void BackendEngine<B>::note_read(const Sequence& s) const {
  s.state->advance(s.tokens.size());
  if (!model_.has_tokenizer()) return;
  const Tokenizer& tokenizer = model_.tokenizer();
  size_t first = s.tokens.size();
  for (size_t bytes = 0; first > 0 && bytes < State::kTextEnd;) {
    bytes += tokenizer.bytes_of(s.tokens[--first]).size();
  }
  for (const Token token : s.tokens.subspan(first)) {
    s.state->read_text(tokenizer.bytes_of(token));
  }
}

template <Backend B>
template <class Run>
void BackendEngine<B>::feed(std::span<const Sequence> batch, Run&& run) {
  const size_t V = model_.hyperparameters().vocab;
  const auto clear = [&] {
    tokens_.clear();
    runs_.clear();
    wanted_.clear();
  };
  const auto run_piece = [&] {
    run(Rows{tokens_, runs_, wanted_});
    clear();
  };
  clear();  // of a call before that an exception has ended
  for (const Sequence& s : batch) {
    const uint64_t tokens = s.state->tokens() + s.tokens.size();
    for (size_t fed = 0; fed < s.tokens.size();) {
      const int first = int(tokens_.size());
      const int count = int(std::min<size_t>(s.tokens.size() - fed, backend_.max_rows() - first));
      const auto piece = s.tokens.subspan(fed, count);
      tokens_.insert(tokens_.end(), piece.begin(), piece.end());
      runs_.push_back({s.state, first, count, s.state->tokens() + fed, s.trace});
      for (int i = 0; s.wanted == LogitsFor::all && i < count; ++i) {
        wanted_.push_back({first + i, s.logits + (fed + i) * V, tokens});
      }
      fed += count;
      if (s.wanted == LogitsFor::last && fed == s.tokens.size()) {
        float* to = nullptr;
        if constexpr (!B::kKeepsLogits) to = s.state->logits().data();
        wanted_.push_back({first + count - 1, to, tokens});
      }
      if (int(tokens_.size()) == backend_.max_rows()) run_piece();
    }
  }
  if (!tokens_.empty()) run_piece();
}

template <Backend B>
void BackendEngine<B>::check_finite(std::span<const Sequence> batch) {
  const size_t V = size_t(model_.hyperparameters().vocab);
  finite_.clear();
  for (const Sequence& s : batch) {
    const uint64_t tokens = s.state->tokens();
    if (s.wanted == LogitsFor::last) finite_.push_back({s.state->logits().data(), tokens});
    if (s.wanted != LogitsFor::all) continue;
    // Not only the last one: what overflows in the last layer's channel mix leaves no trace in a
    // state.
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      finite_.push_back({s.logits + i * V, tokens - s.tokens.size() + i + 1});
    }
  }
  std::atomic<size_t> first = finite_.size();  // that is not
  for_each(finite_.size(), [&](size_t i) {
    if (backend_.all_finite({finite_[i].logits, V})) return;
    size_t before = first;
    while (i < before && !first.compare_exchange_weak(before, i)) {
    }
  });
  if (first < finite_.size()) fail_not_finite(model_, finite_[first].tokens);
}

template <Backend B>
void BackendEngine<B>::sample(std::span<Draw> draws) {
  if constexpr (!B::kKeepsLogits) {
    host_sampling_.sample(draws, backend_.pool());
  } else {
    rows_.clear();
    queries_.clear();
    for (const Draw& draw : draws) {
      const float* row = backend_.find_logits(*draw.state);
      if (row == nullptr) continue;
      rows_.push_back(row);
      queries_.push_back(draw.sampler->query(size_t(model_.hyperparameters().vocab)));
    }
    const std::span<const Candidates> found = backend_.candidates(rows_, queries_);
    auto next = found.begin();
    for (Draw& draw : draws) {
      std::optional<Token> token;
      if (backend_.find_logits(*draw.state) != nullptr) token = draw.sampler->sample(*next++);
      if (token) {
        draw.token = *token;
      } else {
        Engine::sample(std::span(&draw, 1));
      }
    }
  }
}

template <Backend B>
void BackendEngine<B>::for_each(size_t count, const std::function<void(size_t)>& work) {
  if constexpr (!B::kKeepsLogits) {
    backend_.pool().for_each(count, [&](size_t i, int) { work(i); });
  } else {
    Engine::for_each(count, work);
  }
}

template <Backend B>
double BackendEngine<B>::skipped_share(int rows) const {
  if (rows > backend_.few_rows() || backend_.zero_share() <= 0) return 0;
  return std::pow(backend_.zero_share(), rows);
}

template <Backend B>
size_t BackendEngine<B>::step_bytes(int rows) const {
  size_t bytes = 0;
  for (const PhaseWork& work : phase_work(model_.weights(), model_.hyperparameters(), rows, rows,
                                          rows, skipped_share(rows), backend_.state_bytes())) {
    bytes += work.bytes;
  }
  return bytes;
}

template <Backend B>
std::vector<PhaseTime> BackendEngine<B>::phase_times(std::span<const Sequence> batch) {
  int rows = 0, wanted = 0;
  for (const Sequence& s : batch) {
    rows += int(s.tokens.size());
    if (s.wanted == LogitsFor::all) wanted += int(s.tokens.size());
    if (s.wanted == LogitsFor::last) ++wanted;
  }
  if (rows > backend_.max_rows()) {
    throw Error(fmt::format("phases are timed of one piece: expected at most {} rows, found {}",
                            backend_.max_rows(), rows));
  }
  forward(batch);  // what is chosen or fetched once is no part of a phase
  const FlushDenormals flush;
  PhaseSeconds seconds = {};
  feed(batch, [&](const Rows& piece) {
    if constexpr (requires { backend_.time_phases(piece); }) {
      seconds = backend_.time_phases(piece);
    } else {
      constexpr int kSteps = 9;  // the median of each phase counts
      std::array<std::array<double, kSteps>, kPhases> all;
      for (int step = 0; step < kSteps; ++step) {
        PhaseClock clock(backend_);
        anser::forward(clock, piece);
        for (size_t p = 0; p < kPhases; ++p) all[p][size_t(step)] = clock.seconds()[p];
      }
      for (size_t p = 0; p < kPhases; ++p) {
        std::nth_element(all[p].begin(), all[p].begin() + kSteps / 2, all[p].end());
        seconds[p] = all[p][kSteps / 2];
      }
    }
  });
  const auto work = phase_work(model_.weights(), model_.hyperparameters(), rows, int(batch.size()),
                               wanted, skipped_share(rows), backend_.state_bytes());
  std::vector<PhaseTime> times;
  for (int p = 0; p < kPhases; ++p) {
    const Phase phase = Phase(p);
    times.push_back({phase_name(phase), in_every_layer(phase) ? backend_.layers() : 1,
                     seconds[size_t(p)], work[size_t(p)].bytes, work[size_t(p)].flops});
  }
  return times;
}

}  // namespace anser
