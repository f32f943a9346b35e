// Probabilities of tokens as a model gives them, for those who want to see them.
#pragma once

#include <span>
#include <vector>

#include "anser/scheduler.h"

namespace anser {

// log softmax(logits) of `token` and of the `top` most probable (of equal ones the lower id first),
// and the token's rank.
TokenDetails token_details(std::span<const float> logits, Token token, int top);

}  // namespace anser
