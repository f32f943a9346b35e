#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace anser {

TokenDetails token_details(std::span<const float> logits, Token token, int top) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - largest);
  const double norm = largest + std::log(sum);
  const auto entry = [&](Token id) { return TokenLogprob{id, float(logits[size_t(id)] - norm)}; };

  TokenDetails details{entry(token), {}};
  details.rank = 1 + int(std::ranges::count_if(
                         logits, [&](float logit) { return logit > logits[size_t(token)]; }));
  // Not std::views::iota, of which clang 14 cannot make sense beside g++ 12's library.
  std::vector<Token> all(logits.size());
  std::iota(all.begin(), all.end(), Token{0});
  std::vector<Token> best(std::min(size_t(std::max(top, 0)), logits.size()));
  std::partial_sort_copy(all.begin(), all.end(), best.begin(), best.end(), [&](Token a, Token b) {
    const float x = logits[size_t(a)], y = logits[size_t(b)];
    return x != y ? x > y : a < b;
  });
  for (const Token id : best) details.top.push_back(entry(id));
  return details;
}

}  // namespace anser
