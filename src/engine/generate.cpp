#include "anser/generate.h"

#include <fmt/format.h>

#include "anser/error.h"
#include "engine/continuation.h"
#include "text/utf8.h"

namespace anser {

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::length:
      return "length";
    case StopReason::stop_token:
      return "stop_token";
    case StopReason::stop_text:
      return "stop_text";
    case StopReason::cancelled:
      return "cancelled";
    case StopReason::complete:
      return "complete";
  }
  return "?";
}

Generated generate(Engine& engine, State& state, const GenerateOptions& options,
                   const OnText& on_text) {
  if (!state.has_logits()) {
    throw Error("the state has no logits to continue from; feed it a prompt of one token at least");
  }
  Continuation continuation(engine.model().tokenizer(), options, may_hold_back(options));
  continuation.begin(unfinished_end(state.text_end()));
  Generated result{{}, {}, StopReason::length};
  // False: the reader wants no more.
  const auto give = [&](const std::string& piece) {
    if (piece.empty()) return true;
    result.text += piece;
    return !on_text || on_text(piece);
  };
  State marked;  // a copy of the state whenever a stop string may have begun: a few in a text
  bool ended = false;
  while (!ended && continuation.wants_token()) {
    Continuation::Next next = continuation.take(engine.sample(state, continuation.sampler()));
    if (next.mark) marked = state;
    if (!give(next.text) && !next.end) next = continuation.cancel();
    if (next.rewind) state = marked;
    if (!next.feed.empty()) engine.forward(state, next.feed);
    if ((ended = next.end.has_value())) result.reason = *next.end;
  }
  if (!ended) give(continuation.finish());
  result.tokens = continuation.tokens();
  engine.wait();  // an error of the last step is this call's
  return result;
}

}  // namespace anser
