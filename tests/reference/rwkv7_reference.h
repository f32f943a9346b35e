// RWKV-7 from its equations, in double precision, one token at a time: the truth that everything
// else is compared with. It is slow and plain on purpose and shares no header with src/, so that a
// mistake there cannot be made here too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace reference {

using Vec = std::vector<double>;

// Tensors by their names in the original checkpoints, row-major. Matrices "*.weight" are
// [outputs][inputs]; the low-rank ones, w1 w2 a1 a2 v1 v2 g1 g2, are [inputs][outputs].
// Layer 0 needs no v0, v1, v2. Optional: blocks.l.att.time_state [H][N value][N key], the state
// before the first token.
struct Model {
  int vocab = 0, width = 0, layers = 0, head_size = 0, ffn = 0;
  double norm_eps = 1e-5, group_norm_eps = 64e-5;
  std::map<std::string, Vec> tensors;

  int heads() const { return width / head_size; }
  const Vec& at(const std::string& name) const;  // throws std::out_of_range, named
};

struct State {
  explicit State(const Model& model);  // before the first token

  std::vector<Vec> att_shift;  // per layer [D]
  std::vector<Vec> ffn_shift;  // per layer [D]
  std::vector<Vec> wkv;        // per layer [H][N value i][N key j]
};

// Every phase's outputs by name, of one token: "embed.x"; "3.project.r" and k v (v before the value
// residual); "3.recur.w" and a g y (y gated, what output' multiplies); "3.output.x", "3.expand.h",
// "3.contract.x".
using Trace = std::map<std::string, Vec>;

// Feeds one token; returns logits [V].
Vec step(const Model& model, State& state, int token, Trace* trace = nullptr);

// Feeds tokens; returns the logits after each, [tokens][V].
std::vector<Vec> run(const Model& model, State& state, const std::vector<int>& tokens);

}  // namespace reference
