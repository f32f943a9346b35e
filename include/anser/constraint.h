// What a text may be: a grammar that every token must obey.
//
// A Constraint is immutable for its users, may be shared by any number of texts and used from any
// number of threads: what it has found out for one text is at hand for the others. Given to
// GenerateOptions::constraint, tokens that the grammar does not allow are not drawn, and the end of
// the text is allowed exactly where the grammar is complete. So a text that ends by itself is valid
// always; one that max_tokens, a stop string or the reader cuts off is the beginning of a valid
// one.
//
// Strings are valid UTF-8, also where tokens end within a character. JSON is written without white
// space; but a text may begin with a space, as models' answers do. Objects and lists are nested at
// most 63 deep. Names of an object that no schema lists may come twice.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "anser/error.h"
#include "anser/tokenizer.h"

namespace anser {

class Automaton;  // src/grammar

class Constraint {
 public:
  // One JSON object, any. `vocab` is the model's number of logits (hyperparameters().vocab). Throws
  // Error when a byte that the grammar needs is no token.
  static std::shared_ptr<const Constraint> json_object(const Tokenizer& tokenizer, int vocab);

  // A JSON text that satisfies a JSON Schema. docs/formats.md lists the keywords; one that cannot
  // be obeyed is an Error that names it and its place, or, if this is not strict, passed over.
  // Properties come in the order of the schema.
  static std::shared_ptr<const Constraint> json_schema(const Tokenizer& tokenizer, int vocab,
                                                       std::string_view schema, bool strict = true);

  struct Function {
    std::string name;
    std::string parameters;  // a JSON Schema of an object; empty: there are none, and {} is written
    bool strict = true;      // as of json_schema()
  };
  // {"name": ..., "arguments": {...}}, in this order: a call of one of the functions, with what its
  // parameters allow. Each schema stands for itself: '#' in it is its own root. Throws Error, also
  // for a function that could never be called: FunctionError where one of them is to blame.
  struct FunctionError : Error {
    FunctionError(const std::string& what, size_t function) : Error(what), index(function) {}
    size_t index;  // of `functions`
  };
  static std::shared_ptr<const Constraint> json_call(const Tokenizer& tokenizer, int vocab,
                                                     std::span<const Function> functions);

  ~Constraint();
  int vocab() const;
  // Whether it may come to a place where no other token can follow: single bytes that it may have.
  bool needs(Token token) const;

 private:
  friend class ConstraintMatcher;
  struct Work;
  explicit Constraint(std::unique_ptr<Work> work);
  std::unique_ptr<Work> work_;
};

// Where one text is in a grammar. A value, and cheap to copy: copy it together with a State to fork
// or to go back.
class ConstraintMatcher {
 public:
  explicit ConstraintMatcher(std::shared_ptr<const Constraint> constraint);

  // The text goes on with these bytes. False, and nothing has happened, when the grammar does not
  // allow them.
  bool accept(std::string_view bytes);

  // The tokens that may come next: id i is bit i % 64 of word i / 64. None has no bytes. Valid
  // until the next call. Throws Error where the schema is so ambiguous that it cannot be found out
  // with a bounded effort.
  std::span<const uint64_t> allowed();

  // Does some of the work of allowed(): true when nothing is left of it. `units` of work, some ten
  // nanoseconds each, are done at the most, and it is lowered by what was. Whoever has a copy of
  // this matcher can do the work beside it, and give the copy back. Throws as allowed() does.
  bool prepare(size_t& units);

  bool complete() const { return complete_; }  // the text may end here
  bool open() const { return open_; }          // it may go on

  const Constraint& constraint() const { return *constraint_; }

 private:
  void begin_mask();

  std::shared_ptr<const Constraint> constraint_;
  std::shared_ptr<Automaton> automaton_;  // that `id_` is a number of
  int32_t id_;
  bool complete_, open_;
};

}  // namespace anser
