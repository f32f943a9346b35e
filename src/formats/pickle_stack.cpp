#include "formats/pickle_stack.h"

#include <fmt/format.h>

namespace anser {

void PickleStack::push(PickleValue value) {
  if (stack_.size() == kMaxStack) broken("the stack grows too large");
  stack_.push_back(value);
}

void PickleStack::push_integer(PickleKind kind, int64_t integer) {
  PickleValue value;
  value.kind = kind;
  value.integer = integer;
  push(value);
}

void PickleStack::push_index(PickleKind kind, size_t index) {
  PickleValue value;
  value.kind = kind;
  value.index = index;
  push(value);
}

PickleValue PickleStack::pop() {
  const PickleValue value = top();
  stack_.pop_back();
  return value;
}

void PickleStack::mark() {
  if (marks_.size() == kMaxStack) broken("the stack grows too large");
  marks_.push_back(stack_.size());
}

size_t PickleStack::take_mark() {
  if (marks_.empty()) broken("an opcode finds no mark on the stack");
  const size_t from = marks_.back();
  marks_.pop_back();
  return from;
}

size_t PickleStack::last(size_t count) const {
  if (stack_.size() - floor() < count) broken("an opcode finds too few values on the stack");
  return stack_.size() - count;
}

void PickleStack::collect(PickleKind kind, size_t from) {
  if (containers_.size() == kMaxContainers) broken("too many lists, tuples and dicts");
  if (kind == PickleKind::dict && (stack_.size() - from) % 2 != 0) {
    broken("a dict has a key without a value");
  }
  containers_.emplace_back(stack_.begin() + ptrdiff_t(from), stack_.end());
  drop(from);
  push_index(kind, containers_.size() - 1);
}

void PickleStack::extend(PickleKind kind, size_t from) {
  if (from <= floor() || stack_[from - 1].kind != kind) {
    broken("items are added to what is no list or dict");
  }
  if (kind == PickleKind::dict && (stack_.size() - from) % 2 != 0) {
    broken("a dict has a key without a value");
  }
  std::vector<PickleValue>& container = containers_[stack_[from - 1].index];
  container.insert(container.end(), stack_.begin() + ptrdiff_t(from), stack_.end());
  drop(from);
}

const std::vector<PickleValue>& PickleStack::tuple(PickleValue value, const char* what) const {
  if (value.kind != PickleKind::tuple) broken(fmt::format("{} is no tuple", what));
  return containers_[value.index];
}

// Writers count their memo up from zero, each entry with an opcode of its own. A larger index is
// there only to make readers allocate.
void PickleStack::memoize(size_t index) {
  if (index >= pickle_bytes_) broken(fmt::format("the memo index {} is too large", index));
  if (index >= memo_.size()) memo_.resize(index + 1);
  memo_[index] = top();
}

void PickleStack::recall(size_t index) {
  if (index >= memo_.size() || !memo_[index]) {
    broken(fmt::format("nothing was stored under the memo index {}", index));
  }
  push(*memo_[index]);
}

}  // namespace anser
