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

Generated generate_with(const Tokenizer& tokenizer, std::span<const float> logits, const Step& step,
                        const GenerateOptions& options, const OnText& on_text) {
  if (options.max_tokens < 0) {
    throw Error(fmt::format("the number of tokens to generate is {}, it must be 0 or more",
                            options.max_tokens));
  }
  Sampler sampler(options.sampling);
  TextStream stream(options.stop);
  Generated result{{}, {}, StopReason::length};

  // False: the reader wants no more.
  const auto give = [&](const std::string& piece) {
    if (piece.empty()) return true;
    result.text += piece;
    return !on_text || on_text(piece);
  };

  while (int(result.tokens.size()) < options.max_tokens) {
    const Token token = sampler.sample(logits);
    if (std::ranges::find(options.stop_tokens, token) != options.stop_tokens.end()) {
      result.reason = StopReason::stop_token;
      break;
    }
    logits = step(token);
    result.tokens.push_back(token);
    const std::string_view bytes = tokenizer.bytes_of(token);
    sampler.accept(token, bytes);

    bool stopped = false;
    const std::string piece = stream.push(bytes, stopped);
    const bool wanted = give(piece);
    if (stopped || !wanted) {
      // Nothing is flushed: what is held back belongs to the stop string, or nobody wants it.
      result.reason = stopped ? StopReason::stop_text : StopReason::cancelled;
      return result;
    }
  }
  give(stream.finish());
  return result;
}

Generated generate(Engine& engine, State& state, const GenerateOptions& options,
                   const OnText& on_text) {
  if (state.logits().empty()) {
    throw Error("the state has no logits to continue from; feed it a prompt of one token at least");
  }
  const Step step = [&](Token token) -> std::span<const float> {
    engine.forward(state, std::span(&token, 1));
    return state.logits();
  };
  return generate_with(engine.model().tokenizer(), state.logits(), step, options, on_text);
}

}  // namespace anser
