// Stories: what `anser run` and `anser chat` do with a model that writes them.
#pragma once

#include <string_view>

#include "anser/generate.h"

namespace anser {

// Tokens at the most where -n does not say.
constexpr int kStoryTokens = 320;      // of a story in one piece
constexpr int kStoryTurnTokens = 120;  // of a turn

// As generate(), but the text ends with a sentence if it can: in the last third of max_tokens at
// the first place where one ends. The reason is StopReason::length then, too. `before` is what the
// line that is being written begins with.
Generated generate_sentences(Engine& engine, State& state, const GenerateOptions& options,
                             std::string_view before, const OnText& on_text);

}  // namespace anser
