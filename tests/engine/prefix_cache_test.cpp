// The tree of states over beginnings, against a list that does the same slowly.
#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace anser {
namespace {

using Tokens = std::vector<Token>;

State state_of(uint64_t tokens) {
  State state({1, 64, 1, 64}, 1);
  state.advance(tokens);
  return state;
}

TEST(PrefixCache, FindsTheLongestBeginning) {
  PrefixCache cache(1000, 10);
  EXPECT_EQ(cache.find("", Tokens{1, 2}).state, nullptr);
  cache.put("", Tokens{1, 2, 3, 4}, state_of(4));
  cache.put("", Tokens{1, 2}, state_of(2));
  cache.put("other", Tokens{1, 2, 3}, state_of(3));
  const auto hit = cache.find("", Tokens{1, 2, 3, 5, 6});
  EXPECT_EQ(hit.tokens, 2u);
  EXPECT_EQ(hit.state->tokens(), 2u);
  EXPECT_EQ(hit.branch, 3u);  // within the edge from 2 to 4
  EXPECT_EQ(cache.find("", Tokens{1, 2, 3, 4, 9}).tokens, 4u);
  EXPECT_EQ(cache.find("", Tokens{1, 2, 3, 4, 9}).branch, 0u);
  EXPECT_EQ(cache.find("", Tokens{1}).state, nullptr);
  EXPECT_EQ(cache.find("other", Tokens{1, 2, 3, 4}).tokens, 3u);
  EXPECT_EQ(cache.find("third", Tokens{1, 2, 3, 4}).state, nullptr);
  EXPECT_EQ(cache.states(), 3u);
  EXPECT_EQ(cache.bytes(), 30u);
}

TEST(PrefixCache, AStateWithLogitsTakesThePlaceOfOneWithout) {
  PrefixCache cache(1000, 10);
  cache.put("", Tokens{1}, state_of(1));
  State full = state_of(1);
  full.logits() = {1.0f, 2.0f};
  cache.put("", Tokens{1}, full);
  cache.put("", Tokens{1}, state_of(1));
  EXPECT_TRUE(cache.find("", Tokens{1}).state->has_logits());
  EXPECT_EQ(cache.states(), 1u);
}

TEST(PrefixCache, WhatCostsLeastGoesFirst) {
  double now = 0;
  PrefixCache cache(20, 10);
  cache.clock = [&] { return now; };
  cache.put("", Tokens(1000, 1), state_of(1000));
  Tokens longer(1000, 1);
  longer.push_back(2);
  cache.put("", longer, state_of(1001));  // one token more: cheap to read again
  cache.put("", Tokens(10, 3), state_of(10));
  EXPECT_EQ(cache.states(), 2u);
  EXPECT_EQ(cache.find("", longer).tokens, 1000u);
  // 1000 tokens that nobody has asked for in a day against 10 from just now.
  now = 86'400;
  EXPECT_EQ(cache.find("", Tokens(10, 3)).tokens, 10u);
  cache.put("", Tokens(20, 4), state_of(20));
  EXPECT_EQ(cache.find("", Tokens(1000, 1)).state, nullptr);
  EXPECT_EQ(cache.find("", Tokens(10, 3)).tokens, 10u);
  EXPECT_EQ(cache.find("", Tokens(20, 4)).tokens, 20u);
}

TEST(PrefixCache, NothingIsKeptWhereThereIsNoRoom) {
  PrefixCache cache(9, 10);
  cache.put("", Tokens{1, 2}, state_of(2));
  EXPECT_EQ(cache.states(), 0u);
  EXPECT_EQ(cache.find("", Tokens{1, 2}).state, nullptr);
}

TEST(PrefixCache, AgreesWithAPlainListInRandomUse) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    PrefixCache cache(10 * (1 + random() % 12), 10);
    double now = 0;
    cache.clock = [&] { return now += 0.5; };
    std::map<Tokens, uint64_t> list;  // everything ever put, by what was read
    for (int i = 0; i < 300; ++i) {
      Tokens tokens(1 + random() % 6);
      for (Token& token : tokens) token = Token(random() % 2);
      if (random() % 2 == 0) {
        cache.put("", tokens, state_of(tokens.size()));
        list[tokens] = tokens.size();
      }
      const auto hit = cache.find("", tokens);
      if (hit.state == nullptr) continue;
      EXPECT_EQ(hit.state->tokens(), hit.tokens);
      EXPECT_TRUE(list.contains(Tokens(tokens.begin(), tokens.begin() + ptrdiff_t(hit.tokens))));
      EXPECT_TRUE(hit.branch == 0 || (hit.branch > hit.tokens && hit.branch <= tokens.size()));
    }
    // What is kept can be found; with enough room that is all.
    PrefixCache roomy(1 << 20, 10);
    for (const auto& [tokens, size] : list) roomy.put("", tokens, state_of(size));
    EXPECT_EQ(roomy.states(), list.size());
    for (const auto& [tokens, size] : list) EXPECT_EQ(roomy.find("", tokens).tokens, size);
  }
}

}  // namespace
}  // namespace anser
