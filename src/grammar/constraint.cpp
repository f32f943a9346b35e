#include "anser/constraint.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>

#include "anser/error.h"
#include "grammar/automaton.h"
#include "grammar/schema.h"

namespace anser {
namespace {

// Of what an automaton remembers. Then a new one begins, and texts take their places over: what a
// text may be does not depend on it.
constexpr size_t kMaxRemembered = 64 << 20;

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
  mutable std::shared_ptr<Automaton> automaton;
};

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
                                                          std::string_view schema) {
  return std::shared_ptr<const Constraint>(
      new Constraint(std::make_unique<Work>(tokenizer, vocab, json_schema_grammar(schema))));
}

std::shared_ptr<const Constraint> Constraint::json_call(const Tokenizer& tokenizer, int vocab,
                                                        std::span<const Function> functions) {
  return std::shared_ptr<const Constraint>(
      new Constraint(std::make_unique<Work>(tokenizer, vocab, json_call_grammar(functions))));
}

ConstraintMatcher::ConstraintMatcher(std::shared_ptr<const Constraint> constraint)
    : constraint_(std::move(constraint)) {
  const Constraint::Work& work = *constraint_->work_;
  const std::lock_guard lock(work.mutex);
  automaton_ = work.automaton;
  id_ = work.automaton->start();
  complete_ = work.automaton->complete(id_);
  open_ = work.automaton->open(id_);
}

// To the automaton that is in use. The caller holds the lock.
void ConstraintMatcher::refresh() {
  const Constraint::Work& work = *constraint_->work_;
  if (work.automaton->size() > kMaxRemembered) {
    work.automaton = std::make_shared<Automaton>(work.grammar);
  }
  if (automaton_ == work.automaton) return;
  id_ = work.automaton->import(*static_cast<const Automaton*>(automaton_.get()), id_);
  automaton_ = work.automaton;
}

bool ConstraintMatcher::accept(std::string_view bytes) {
  const Constraint::Work& work = *constraint_->work_;
  const std::lock_guard lock(work.mutex);
  refresh();
  Automaton::Id at = id_;
  for (const char byte : bytes) {
    at = work.automaton->step(at, uint8_t(byte));
    if (at == Automaton::kDead) return false;
  }
  id_ = at;
  complete_ = work.automaton->complete(at);
  open_ = work.automaton->open(at);
  return true;
}

std::span<const uint64_t> ConstraintMatcher::allowed() {
  const Constraint::Work& work = *constraint_->work_;
  const std::lock_guard lock(work.mutex);
  refresh();
  return work.automaton->allowed(id_, work.tokens.tree(), size_t(work.vocab));
}

}  // namespace anser
