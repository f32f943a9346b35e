// The details of many tokens, kept until an answer is sent: 8 bytes for each number that comes with
// a token, where JSON takes a hundred.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "anser/scheduler.h"

namespace anser::openai {

class LogprobList {
 public:
  // What the details of so many tokens take, with `top` of the most probable each.
  static size_t bytes_of(size_t tokens, int top) {
    return tokens * sizeof(TokenLogprob) * (2 + size_t(top));
  }

  void add(const TokenDetails& token) {
    drawn_.push_back({token.drawn, uint32_t(top_.size()), token.rank});
    top_.insert(top_.end(), token.top.begin(), token.top.end());
  }
  size_t size() const { return drawn_.size(); }
  TokenDetails operator[](size_t i) const {
    const size_t end = i + 1 < drawn_.size() ? drawn_[i + 1].top : top_.size();
    return {drawn_[i].token,
            {top_.begin() + ptrdiff_t(drawn_[i].top), top_.begin() + ptrdiff_t(end)},
            drawn_[i].rank};
  }

 private:
  struct Drawn {
    TokenLogprob token;
    uint32_t top;  // where its most probable ones begin
    int rank;
  };
  static_assert(sizeof(Drawn) == 2 * sizeof(TokenLogprob));
  // They grow without being copied.
  std::deque<Drawn> drawn_;
  std::deque<TokenLogprob> top_;
};

}  // namespace anser::openai
