// One text being written, token by token, apart from the engine that it runs on: generate() and the
// scheduler both go by it.
//
//   continuation.begin(unfinished_end(<the text that the state has read>));
//   while (continuation.wants_token()) {
//     Continuation::Next next = continuation.take(<a token drawn by continuation.sampler()>);
//     if (next.mark) remember the state;
//     if (the reader of next.text wants no more, and !next.end) next = continuation.cancel();
//     if (next.rewind) go back to the remembered state;
//     feed next.feed, if there is any;
//     if (next.end) break;
//   }
//   if it ended otherwise: give out finish()
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "anser/generate.h"
#include "anser/tokenizer.h"
#include "engine/text_stream.h"

namespace anser {

// Whether text may be held back, so that a caller who can go back to a state should.
inline bool may_hold_back(const GenerateOptions& options) {
  return !options.stop.empty() || !options.stop_after.empty();
}

class Continuation {
 public:
  // With `rewinds` the caller can go back: then a stop string, or what of one had been generated
  // when the reader cancelled, is taken out of what the state has read. Throws Error for a negative
  // number of tokens and for bad stop strings.
  Continuation(Tokenizer tokenizer, const GenerateOptions& options, bool rewinds);

  // Before the first token: the beginning of a character that the text goes on with, or nothing. A
  // text with a constraint goes on with nothing: it is to be right by itself.
  void begin(std::string_view unfinished) {
    if (!constrained_) stream_.begin(unfinished);
  }

  Sampler& sampler() { return sampler_; }
  // The state read all that it shall, once this is false.
  bool wants_token() const { return !ended_ && int(tokens_.size()) < max_tokens_; }

  // What is to be done, in this order.
  struct Next {
    bool mark = false;        // remember the state as it is, instead of what was remembered before
    std::string text;         // give this out; it may be empty
    bool rewind = false;      // back to the remembered state
    std::vector<Token> feed;  // then feed these; there may be none
    std::optional<StopReason> end;
  };
  Next take(Token token);

  // In place of what take() wanted fed: the reader wants no more.
  Next cancel();

  // The text that was held back, when the number of tokens, and not take(), ended it.
  std::string finish();

  // All that the state has read, once what is to be fed has been.
  const std::vector<Token>& tokens() const { return tokens_; }

 private:
  void end(StopReason reason, Next& next);
  void take_stop(Token token, Next& next);
  void read_only(std::string_view bytes, Next& next);

  const Tokenizer tokenizer_;
  const int max_tokens_, min_tokens_;
  const std::vector<Token> stop_tokens_;
  const std::vector<Token> included_stops_;  // of stop_tokens_, those that are part of the text
  const bool rewinds_, constrained_;
  Sampler sampler_;
  TextStream stream_;
  std::vector<Token> tokens_;
  bool ended_ = false;
  Token last_ = 0;
  // At the last mark: of tokens_, and of the stream; and the bytes of the tokens after it.
  size_t mark_tokens_ = 0, mark_bytes_ = 0;
  std::string since_mark_;
};

}  // namespace anser
