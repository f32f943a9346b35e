#include "engine/logprobs.h"

#include <algorithm>
#include <cmath>

namespace anser {

TokenDetails token_details(std::span<const float> logits, Token token, int top) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - largest);
  const double norm = largest + std::log(sum);
  const auto entry = [&](Token id) { return TokenLogprob{id, float(logits[size_t(id)] - norm)}; };

  TokenDetails details{entry(token), {}};
  std::vector<Token> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = Token(i);
  const auto kept = ids.begin() + std::min<ptrdiff_t>(std::max(top, 0), ptrdiff_t(ids.size()));
  std::partial_sort(ids.begin(), kept, ids.end(), [&](Token a, Token b) {
    const float x = logits[size_t(a)], y = logits[size_t(b)];
    return x != y ? x > y : a < b;
  });
  for (auto id = ids.begin(); id != kept; ++id) details.top.push_back(entry(*id));
  return details;
}

}  // namespace anser
