// What one forward pass works on: new tokens of several sequences, packed into rows.
#pragma once

#include <cstdint>
#include <span>

#include "anser/state.h"
#include "anser/tokenizer.h"

namespace anser {

// Consecutive tokens of one sequence: rows [first, first + count).
struct Run {
  State* state;
  int first;
  int count;
  uint64_t position;  // of row `first` in its context: tokens before it
};

// A row whose logits are wanted, and where they go: [V].
struct LogitRow {
  int row;
  float* logits;
};

struct Rows {
  std::span<const Token> tokens;  // one per row
  std::span<const Run> runs;      // in row order, covering all rows
  std::span<const LogitRow> wanted;

  int count() const { return int(tokens.size()); }
};

}  // namespace anser
