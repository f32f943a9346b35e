// Candidates by their probability.
#pragma once

#include <algorithm>
#include <vector>

#include "anser/sampling.h"

namespace anser {

// A total order, so that every cut is determined: the lower id wins a tie.
inline bool more_probable(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// The last of the most probable candidates that together reach `mass`; there are some. By
// bisection: the order is found only as far as it is needed, which is linear in the number of
// candidates; a sort is not.
inline Candidate nucleus_end(std::vector<Candidate>& ranked, double mass) {
  auto low = ranked.begin(), high = ranked.end();
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    std::nth_element(low, middle, high, more_probable);
    double upper = 0.0;
    for (auto i = low; i != middle; ++i) upper += i->p;
    if (upper >= mass) {
      high = middle;
    } else {
      mass -= upper;
      low = middle;
    }
  }
  return *low;
}

}  // namespace anser
