#include "anser/constraint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include "anser/error.h"
#include "grammar/automaton.h"
#include "grammar/schema.h"

namespace anser {
namespace {

// Of what an automaton remembers. Then a new one begins, and texts take their places over to it:
// what a text may be does not depend on it. Where all automata together remember much, each has
// less.
constexpr size_t kMaxRemembered = 32 << 20, kMaxOfAll = 256 << 20, kLeast = 4 << 20;

// Of one call of prepare(): what others that use the constraint wait for at the most, milliseconds.
constexpr size_t kUnitsAtOnce = 50'000;

}  // namespace

struct Constraint::Work {
  Work(const Tokenizer& tokenizer, int vocab_size, Grammar&& rules)
      : tokens(tokenizer), vocab(vocab_size), grammar(std::move(rules)) {
    check_bytes();
    automaton = std::make_shared<Automaton>(grammar);
  }

  // Then there is a token wherever the grammar has a way on.
  void check_bytes() const {
    std::array<bool, 256> found = {};
    for (Token id = 0; id < std::min(vocab, tokens.size()); ++id) {
      const std::string_view bytes = tokens.bytes_of(id);
      if (bytes.size() == 1) found[uint8_t(bytes[0])] = true;
    }
    for (size_t byte = 0; byte < 256; ++byte) {
      if (!grammar.used[byte] || found[byte]) continue;
      throw Error(
          fmt::format("this model cannot write what the schema asks for: its {} tokens have none "
                      "for the single byte 0x{:02x}",
                      vocab, byte));
    }
  }

  const Tokenizer tokens;
  const int vocab;
  const Grammar grammar;
  mutable std::mutex mutex;
  mutable std::atomic<int> waiting = 0;  // for the mutex
  mutable std::shared_ptr<Automaton> automaton;
};

namespace {

// The lock for a moment. Who takes it again and again, for long work, first lets those have it that
// wait already.
class Turn {
 public:
  explicit Turn(const auto& work) {
    ++work.waiting;
    lock_ = std::unique_lock(work.mutex);
    --work.waiting;
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace

Constraint::Constraint(std::unique_ptr<Work> work) : work_(std::move(work)) {}
Constraint::~Constraint() = default;

int Constraint::vocab() const {
  return work_->vocab;
}

bool Constraint::needs(Token token) const {
  const std::string_view bytes = work_->tokens.bytes_of(token);
  return bytes.size() == 1 && work_->grammar.used[uint8_t(bytes[0])];
}

std::shared_ptr<const Constraint> Constraint::json_object(const Tokenizer& tokenizer, int vocab) {
  return std::shared_ptr<const Constraint>(
      new Constraint(std::make_unique<Work>(tokenizer, vocab, json_object_grammar())));
}

std::shared_ptr<const Constraint> Constraint::json_schema(const Tokenizer& tokenizer, int vocab,
                                                          std::string_view schema, bool strict) {
  return std::shared_ptr<const Constraint>(new Constraint(
      std::make_unique<Work>(tokenizer, vocab, json_schema_grammar(schema, strict))));
}

std::shared_ptr<const Constraint> Constraint::json_call(const Tokenizer& tokenizer, int vocab,
                                                        std::span<const Function> functions) {
  return std::shared_ptr<const Constraint>(
      new Constraint(std::make_unique<Work>(tokenizer, vocab, json_call_grammar(functions))));
}

ConstraintMatcher::ConstraintMatcher(std::shared_ptr<const Constraint> constraint)
    : constraint_(std::move(constraint)) {
  const Turn turn(*constraint_->work_);
  automaton_ = constraint_->work_->automaton;
  id_ = automaton_->start();
  complete_ = automaton_->complete(id_);
  open_ = automaton_->open(id_);
}

bool ConstraintMatcher::accept(std::string_view bytes) {
  const Turn turn(*constraint_->work_);
  Automaton::Id at = id_;
  for (const char byte : bytes) {
    at = automaton_->step(at, uint8_t(byte));
    if (at == Automaton::kDead) return false;
  }
  id_ = at;
  complete_ = automaton_->complete(at);
  open_ = automaton_->open(at);
  return true;
}

// In the automaton that is in use, which is a new one where that has become large. The caller holds
// the lock.
void ConstraintMatcher::begin_mask() {
  if (automaton_->is_begun(id_)) return;
  const Constraint::Work& work = *constraint_->work_;
  const size_t size = work.automaton->size();
  const size_t most = Automaton::size_of_all() > kMaxOfAll ? kLeast : kMaxRemembered;
  if (size > most) work.automaton = std::make_shared<Automaton>(work.grammar);
  if (automaton_ == work.automaton) return;
  id_ = work.automaton->import(*automaton_, id_);
  automaton_ = work.automaton;
}

bool ConstraintMatcher::prepare(size_t& units) {
  const Constraint::Work& work = *constraint_->work_;
  while (work.waiting > 0) std::this_thread::yield();
  const Turn turn(work);
  begin_mask();
  const size_t before = units;
  size_t now = std::min(units, kUnitsAtOnce);
  const size_t given = now;
  const bool ready = automaton_->prepare(id_, work.tokens.tree(), size_t(work.vocab), now);
  units = before - (given - now);
  return ready;
}

std::span<const uint64_t> ConstraintMatcher::allowed() {
  // A mask that is ready is not changed any more, and stays as long as the automaton.
  const auto ready = [&]() -> const TokenSet* {
    const Turn turn(*constraint_->work_);
    return automaton_->is_ready(id_) ? &automaton_->allowed(id_) : nullptr;
  };
  if (const TokenSet* set = ready()) return *set;
  for (size_t units = kUnitsAtOnce; !prepare(units);) units = kUnitsAtOnce;
  return *ready();
}

}  // namespace anser
