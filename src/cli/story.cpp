#include "cli/story.h"

#include "text/prose.h"

namespace anser {

Generated generate_sentences(Engine& engine, State& state, const GenerateOptions& options,
                             std::string_view before, const OnText& on_text) {
  SentenceEnd sentence;
  sentence.read(before);
  const int soon = options.max_tokens - options.max_tokens / 3;
  int pieces = 0;  // no more than there are tokens
  bool wanted = true, ended = false;
  Generated result = generate(engine, state, options, [&](std::string_view piece) {
    wanted = on_text(piece);
    sentence.read(piece);
    ended = ++pieces >= soon && sentence.here();
    return wanted && !ended;
  });
  if (result.reason == StopReason::cancelled && wanted) result.reason = StopReason::length;
  return result;
}

}  // namespace anser
