// The engine over any backend: packs sequences into rows, runs the forward pass over them, and
// answers for what comes in and goes out.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "anser/engine.h"
#include "anser/error.h"
#include "base/thread_pool.h"
#include "model/forward.h"
#include "model/load_weights.h"
#include "model/rows.h"
#include "model/weights.h"

namespace anser {

// Besides the phases a backend has max_rows(), threads(), name(), few_rows() (up to which it skips
// weights whose h is zero), state_bytes() (of a state as it is kept), zero_share(), all_finite()
// and kDevice.
template <Backend B>
class BackendEngine final : public Engine {
 public:
  template <class... Args>
  explicit BackendEngine(const Model& model, Args&&... args)
      : model_(model), backend_(model, std::forward<Args>(args)...) {
    const size_t rows = size_t(backend_.max_rows());
    tokens_.reserve(rows);
    runs_.reserve(rows);
    wanted_.reserve(rows);
    states_.reserve(rows);
  }

  using Engine::forward;
  void forward(std::span<const Sequence> batch) override;

  const Model& model() const override { return model_; }
  Device device() const override { return B::kDevice; }
  int threads() const override { return backend_.threads(); }
  std::string backend() const override { return backend_.name(); }
  size_t step_bytes(int rows) const override;
  double zero_share() const override { return backend_.zero_share(); }

 private:
  void check(std::span<const Sequence> batch);
  void feed(std::span<const Sequence> batch);
  void check_finite(std::span<const Sequence> batch) const;

  const Model model_;
  B backend_;

  // Scratch of one forward call, kept so that a step allocates nothing.
  std::vector<const State*> states_;
  std::vector<Token> tokens_;
  std::vector<Run> runs_;
  std::vector<LogitRow> wanted_;
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
                      model_.path()));
    }
    if (s.tokens.empty()) fail("no tokens to feed");
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
  for (const Sequence& s : batch) {
    s.state->logits().resize(s.wanted == LogitsFor::none ? 0 : model_.hyperparameters().vocab);
  }
  const FlushDenormals flush;
  feed(batch);
  for (const Sequence& s : batch) s.state->advance(s.tokens.size());
  check_finite(batch);
}

// Cuts the batch into pieces of at most max_rows rows, sequence after sequence.
template <Backend B>
void BackendEngine<B>::feed(std::span<const Sequence> batch) {
  const size_t V = model_.hyperparameters().vocab;
  const auto run_piece = [&] {
    const Rows rows = {tokens_, runs_, wanted_};
    anser::forward(backend_, rows);
    tokens_.clear();
    runs_.clear();
    wanted_.clear();
  };
  for (const Sequence& s : batch) {
    for (size_t fed = 0; fed < s.tokens.size();) {
      const int first = int(tokens_.size());
      const int count = int(std::min<size_t>(s.tokens.size() - fed, backend_.max_rows() - first));
      const auto piece = s.tokens.subspan(fed, count);
      tokens_.insert(tokens_.end(), piece.begin(), piece.end());
      runs_.push_back({s.state, first, count, s.state->tokens() + fed});
      for (int i = 0; s.wanted == LogitsFor::all && i < count; ++i) {
        wanted_.push_back({first + i, s.logits + (fed + i) * V});
      }
      fed += count;
      if (s.wanted == LogitsFor::last && fed == s.tokens.size()) {
        wanted_.push_back({first + count - 1, s.state->logits().data()});
      }
      if (int(tokens_.size()) == backend_.max_rows()) run_piece();
    }
  }
  if (!tokens_.empty()) run_piece();
  for (const Sequence& s : batch) {
    if (s.wanted != LogitsFor::all) continue;
    std::copy_n(s.logits + (s.tokens.size() - 1) * V, V, s.state->logits().data());
  }
}

template <Backend B>
void BackendEngine<B>::check_finite(std::span<const Sequence> batch) const {
  for (const Sequence& s : batch) {
    const std::vector<float>& logits = s.state->logits();
    if (backend_.all_finite(logits)) continue;
    const std::string weight = find_not_finite(model_.weights(), model_.hyperparameters());
    throw Error(weight.empty()
                    ? fmt::format("{}: a result is not a finite number after {} tokens, though all "
                                  "weights are finite: the activations overflow, or the state is "
                                  "damaged",
                                  model_.path(), s.state->tokens())
                    : fmt::format("{}: {}; the file is damaged or a training run diverged",
                                  model_.path(), weight));
  }
}

template <Backend B>
size_t BackendEngine<B>::step_bytes(int rows) const {
  const Hyperparameters& h = model_.hyperparameters();
  struct Sum {
    size_t bytes = 0;
    void vector(const std::string&, const Vector& v, int) { bytes += v.size() * sizeof(float); }
    void low_rank(const std::string&, const Matrix& m, int, int) { bytes += m.bytes(); }
    void matrix(const std::string&, const Matrix& m, int, int) { bytes += m.bytes(); }
  } sum;
  const Weights& weights = model_.weights();
  visit_weights(weights, h, sum);
  size_t skipped = 0;
  if (rows <= backend_.few_rows() && backend_.zero_share() > 0) {
    // What no row of the step needs.
    const double share = std::pow(backend_.zero_share(), rows);
    for (const Layer& layer : weights.layers)
      skipped += size_t(share * double(layer.ffn.value.bytes()));
  }
  // Of the embedding only one line a row is read; a state is read and written.
  return sum.bytes - skipped - weights.emb.bytes() +
         rows * (weights.emb.row_bytes() + 2 * backend_.state_bytes());
}

}  // namespace anser
