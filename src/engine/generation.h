// The loop of generate(), apart from the engine that it runs on.
#pragma once

#include <functional>
#include <span>

#include "anser/generate.h"
#include "anser/tokenizer.h"

namespace anser {

// Draws the next token.
using Pick = std::function<Token(Sampler&)>;
// Feeds a token.
using Step = std::function<void(Token)>;

// How to take back what the model has read of a stop string.
struct Rewind {
  std::function<void()> mark;  // remembers where the model is, instead of the mark before
  // Goes back to the mark and feeds these (there may be none).
  std::function<void(std::span<const Token>)> to_mark;
};

// Without `rewind` a stop string, or what of it had been generated when the reader cancelled, stays
// read.
Generated generate_with(const Tokenizer& tokenizer, const Pick& pick, const Step& step,
                        const GenerateOptions& options, const OnText& on_text,
                        const Rewind* rewind = nullptr);

}  // namespace anser
