// Generation: prompt in, text out, piece by piece.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "anser/engine.h"
#include "anser/sampling.h"
#include "anser/state.h"

namespace anser {

struct GenerateOptions {
  int max_tokens = 256;
  SamplingOptions sampling = {};
  // Generation ends before the first of these; no part of a stop string is ever returned.
  std::vector<std::string> stop = {};
  // Generation ends behind the first of these, which is returned as part of the text. Of a stop
  // string in both lists this one counts.
  std::vector<std::string> stop_after = {};
  // Tokens that end generation and are not returned, besides the vocabulary's own
  // (Tokenizer::eos), which ignore_eos makes ordinary ones.
  std::vector<Token> stop_tokens = {};
  bool ignore_eos = false;
  // What one of `stop_tokens` stands for is returned, too, unless the text has a constraint.
  bool include_stop_tokens = false;
  // Before so many tokens have been generated no token that ends generation is sampled, and stop
  // strings do not count. A constraint that leaves nothing to be added ends the text all the same.
  int min_tokens = 0;
  // The text must be, or begin, one of these: JSON, for example. A stop token comes only where the
  // text is complete; where nothing else can follow, or there is no stop token, it ends at once.
  std::shared_ptr<const Constraint> constraint = nullptr;
};

// complete: the constraint leaves nothing to be added.
enum class StopReason { length, stop_token, stop_text, cancelled, complete };
const char* stop_reason_name(StopReason reason);

struct Generated {
  std::string text;           // all that on_text was called with
  std::vector<Token> tokens;  // all that the state has read
  StopReason reason;
};

// Called on the caller's thread with complete UTF-8 characters only, as soon as they are certain.
// Return false to cancel.
using OnText = std::function<bool(std::string_view piece)>;

// Continues `state`, which must have logits (a prompt has been fed), and feeds it every token that
// it generates, except a stop token. Bytes that are not UTF-8 come out as U+FFFD, but a character
// that has only begun at the end is left out: it comes first in the text that goes on from the
// state. So a text is the same however it is cut. Throws Error for options outside their range, for
// a state without logits, and as Engine::forward does.
// After a stop string, or when the reader cancels, the state has read the text that was given out
// and nothing of what was held back: it can go on with a next turn, or be saved.
Generated generate(Engine& engine, State& state, const GenerateOptions& options,
                   const OnText& on_text = {});

}  // namespace anser
