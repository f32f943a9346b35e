// The loop of generate(), apart from the engine that it runs on.
#pragma once

#include <functional>
#include <span>

#include "anser/generate.h"
#include "anser/tokenizer.h"

namespace anser {

// Feeds a token and returns the logits after it, valid until the next call.
using Step = std::function<std::span<const float>(Token)>;

Generated generate_with(const Tokenizer& tokenizer, std::span<const float> logits, const Step& step,
                        const GenerateOptions& options, const OnText& on_text);

}  // namespace anser
