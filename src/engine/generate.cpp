#include "anser/generate.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"
#include "engine/generation.h"
#include "engine/text_stream.h"

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
  }
  return "?";
}

Generated generate_with(const Tokenizer& tokenizer, const Pick& pick, const Step& step,
                        const GenerateOptions& options, const OnText& on_text,
                        const Rewind* rewind) {
  if (options.max_tokens < 0) {
    throw Error(fmt::format("the number of tokens to generate is {}, it must be 0 or more",
                            options.max_tokens));
  }
  Sampler sampler(options.sampling);
  TextStream stream(options.stop);
  Generated result{{}, {}, StopReason::length};
  size_t mark_tokens = 0;  // of result, at the mark of `rewind`
  size_t mark_bytes = 0;   // of the stream, there
  std::string since_mark;  // the bytes of the tokens after it

  // False: the reader wants no more.
  const auto give = [&](const std::string& piece) {
    if (piece.empty()) return true;
    result.text += piece;
    return !on_text || on_text(piece);
  };

  while (int(result.tokens.size()) < options.max_tokens) {
    const Token token = pick(sampler);
    if (std::ranges::find(options.stop_tokens, token) != options.stop_tokens.end()) {
      result.reason = StopReason::stop_token;
      break;
    }
    const std::string_view bytes = tokenizer.bytes_of(token);
    sampler.accept(token, bytes);

    const size_t before = stream.pushed();
    bool stopped = false;
    const std::string piece = stream.push(bytes, stopped);
    // The model has not read the token yet. What is held back now may turn out to be a stop string:
    // if it begins in this token, and not in one before, this is the place to come back to.
    const bool undecided = stream.decided() < stream.pushed();
    if (rewind != nullptr && undecided && stream.decided() >= before) {
      rewind->mark();
      mark_tokens = result.tokens.size();
      mark_bytes = before;
      since_mark.clear();
    }
    since_mark += bytes;
    const bool wanted = give(piece);
    if (!stopped && wanted) {
      step(token);
      result.tokens.push_back(token);
      continue;
    }
    // Nothing is flushed: what is held back belongs to the stop string, or nobody wants it.
    result.reason = stopped ? StopReason::stop_text : StopReason::cancelled;
    if (rewind != nullptr && undecided) {
      // The part that was given out is read again, in tokens of its own.
      const size_t given = stream.decided() - std::min(stream.decided(), mark_bytes);
      const std::vector<Token> tail =
          tokenizer.encode(std::string_view(since_mark).substr(0, given));
      rewind->to_mark(tail);
      result.tokens.resize(mark_tokens);
      result.tokens.insert(result.tokens.end(), tail.begin(), tail.end());
    } else {
      step(token);
      result.tokens.push_back(token);
    }
    return result;
  }
  give(stream.finish());
  return result;
}

Generated generate(Engine& engine, State& state, const GenerateOptions& options,
                   const OnText& on_text) {
  if (!state.has_logits()) {
    throw Error("the state has no logits to continue from; feed it a prompt of one token at least");
  }
  const Pick pick = [&](Sampler& sampler) { return engine.sample(state, sampler); };
  const Step step = [&](Token token) { engine.forward(state, std::span(&token, 1)); };
  // A copy of the state whenever a stop string may have begun: a few in a text.
  State marked;
  const Rewind rewind{[&] { marked = state; },
                      [&](std::span<const Token> tail) {
                        state = marked;
                        if (!tail.empty()) engine.forward(state, tail);
                      }};
  const Generated result = generate_with(engine.model().tokenizer(), pick, step, options, on_text,
                                         options.stop.empty() ? nullptr : &rewind);
  engine.wait();  // an error of the last step is this call's
  return result;
}

}  // namespace anser
