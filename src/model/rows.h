// What one forward pass works on: new tokens of several sequences, packed into rows.
#pragma once

#include <cstdint>
#include <span>

#include "anser/state.h"
#include "anser/tokenizer.h"

namespace anser {

struct StateTrace;  // anser/state_trace.h

// Consecutive tokens of one sequence: rows [first, first + count).
struct Run {
  State* state;
  int first;
  int count;
  uint64_t position;            // of row `first` in its context: tokens before it
  StateTrace* trace = nullptr;  // gets what the tokens do to the state, from backends that can
};

// A row whose logits are wanted, and where they go: [V]. nullptr, for backends that keep logits: to
// those of the row's state, wherever that is.
struct LogitRow {
  int row;
  float* logits;
  uint64_t tokens = 0;  // that the state will have read after this call, for messages
};

struct Rows {
  std::span<const Token> tokens;  // one per row
  std::span<const Run> runs;      // in row order, covering all rows
  std::span<const LogitRow> wanted;

  int count() const { return int(tokens.size()); }
};

}  // namespace anser
