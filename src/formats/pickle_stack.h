// The pickle machine's memory: a stack with marks, a memo and the containers that were built. Every
// operation checks what it finds, and every growth has a limit.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/pickle.h"

namespace anser {

// Thrown for what a writer of pickles never writes; the machine adds where it stood.
struct PickleFault {
  std::string what;
};
[[noreturn]] inline void broken(std::string what) {
  throw PickleFault{std::move(what)};
}

class PickleStack {
 public:
  // The largest models have 2000 tensors of 8 containers each; torch's C++ pickler, unlike
  // Python's, has a whole dict on the stack. Reaching both limits takes megabytes of
  // pickle and 170 MB of memory.
  static constexpr size_t kMaxContainers = size_t{1} << 22;
  static constexpr size_t kMaxStack = size_t{1} << 22;

  explicit PickleStack(size_t pickle_bytes) : pickle_bytes_(pickle_bytes) {}

  void push(PickleValue value);
  void push_integer(PickleKind kind, int64_t integer);
  void push_index(PickleKind kind, size_t index);
  PickleValue pop();
  const PickleValue& top() const { return stack_[last(1)]; }
  bool empty() const { return stack_.empty() && marks_.empty(); }

  void mark();
  // Stack heights, where the values for an opcode start: those above the last mark, which is taken
  // away; the topmost `count`, which must lie above the last mark; none.
  size_t take_mark();
  size_t last(size_t count) const;
  size_t nothing() const { return stack_.size(); }

  void drop(size_t from) { stack_.resize(from); }
  // Moves the values from `from` on into a new container and pushes it.
  void collect(PickleKind kind, size_t from);
  // Moves the values from `from` on into the list or dict that lies below them.
  void extend(PickleKind kind, size_t from);
  const std::vector<PickleValue>& tuple(PickleValue value, const char* what) const;

  void memoize(size_t index);
  void memoize_next() { memoize(memo_.size()); }
  void recall(size_t index);

  std::vector<std::vector<PickleValue>> take_containers() { return std::move(containers_); }

 private:
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  const size_t pickle_bytes_;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;  // stack heights
  std::vector<std::optional<PickleValue>> memo_;
  std::vector<std::vector<PickleValue>> containers_;
};

}  // namespace anser
