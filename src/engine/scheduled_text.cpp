#include "engine/scheduled_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"

namespace anser {

void check_order(const Order& order, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  for (const Token token : order.prompt) {
    if (token < 0 || token >= vocab) {
      throw Error(fmt::format("token {} is outside the vocabulary, 0 to {}", token, vocab - 1));
    }
  }
  model.check_state(order.state, "the state to begin with");
  if (order.prompt.empty() && !order.state.has_logits()) {
    throw Error("there is nothing to go on from: the prompt is empty, and the state has read none");
  }
}

ScheduledText::ScheduledText(Order&& order, const Tokenizer& tokenizer, std::shared_ptr<Reader> to,
                             bool may_be_cached)
    : reader(std::move(to)),
      continuation(tokenizer, order.generation, may_hold_back(order.generation)),
      state(std::move(order.state)),
      pending(std::move(order.prompt)),
      top_logprobs(order.top_logprobs),
      prompt_logprobs(order.prompt_logprobs),
      token_ids(order.token_ids),
      kept_bytes(order.kept_bytes),
      keep_state(order.keep_state),
      traced(order.trace),
      small(pending.size() + size_t(std::max(order.generation.max_tokens, 0)) <= kSmall),
      cached(may_be_cached),
      origin(std::move(order.origin)),
      prompt(pending),
      checkpoints(order.checkpoints.begin(), order.checkpoints.end()) {
  for (size_t at = kFirstStride; at < prompt.size(); at *= 2) checkpoints.insert(at);
  checkpoints.insert(prompt.size());
}

}  // namespace anser
