// The loop of generate(), apart from the engine that it runs on.
#pragma once

#include <functional>
#include <span>

#include "anser/generate.h"
#include "anser/tokenizer.h"

namespace anser {

// Feeds a token and returns the logits after it, valid until the next call.
using Step = std::function<std::span<const float>(Token)>;

// How to take back what the model has read of a stop string.
struct Rewind {
  std::function<void()> mark;  // remembers where the model is, instead of the mark before
  // Goes back to the mark and feeds these (there may be none).
  std::function<void(std::span<const Token>)> to_mark;
};

// Without `rewind` a stop string, or what of it had been generated when the reader cancelled, stays
// read.
Generated generate_with(const Tokenizer& tokenizer, std::span<const float> logits, const Step& step,
                        const GenerateOptions& options, const OnText& on_text,
                        const Rewind* rewind = nullptr);

}  // namespace anser
