#include "cli/feed.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "anser/error.h"
#include "base/check.h"
#include "cli/console.h"
#include "cli/progress.h"
#include "cli/signals.h"

namespace anser {

void feed(Engine& engine, State& state, std::span<const Token> tokens) {
  Progress progress("reading the prompt");
  for (size_t done = 0; done < tokens.size();) {
    const size_t n = std::min(size_t(kFeedPiece), tokens.size() - done);
    const bool last = done + n == tokens.size();
    const Sequence piece{&state, tokens.subspan(done, n), last ? LogitsFor::last : LogitsFor::none,
                         nullptr};
    engine.forward(std::span(&piece, 1));
    done += n;
    progress.update(fmt::format("{} of {} tokens", done, tokens.size()));
    if (!last && InterruptGuard::interrupted()) {
      throw Error(fmt::format("interrupted after {} of {} prompt tokens", done, tokens.size()));
    }
  }
}

double log_probability(std::span<const float> logits, Token token) {
  ANSER_CHECK(token >= 0 && size_t(token) < logits.size());
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - largest);
  return double(logits[size_t(token)]) - largest - std::log(sum);
}

Token argmax(std::span<const float> logits) {
  return Token(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace anser
