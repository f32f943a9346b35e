// Texts that a constraint allows, byte by byte at random: as a model writes that knows nothing.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "anser/constraint.h"

namespace support {

// Ends as soon as it may behind `soon` bytes; empty where it has not ended long after that.
inline std::string random_text(const std::shared_ptr<const anser::Constraint>& constraint,
                               std::mt19937& random, size_t soon = 60) {
  anser::ConstraintMatcher matcher(constraint);
  std::string text;
  while (matcher.open() && text.size() < 50 * soon) {
    if (matcher.complete() && (text.size() > soon || random() % 3 == 0)) break;
    const std::span<const uint64_t> allowed = matcher.allowed();
    std::vector<char> bytes;
    bool quote = false;
    for (int byte = 0; byte < 256; ++byte) {
      if ((allowed[size_t(byte) / 64] >> byte % 64 & 1) == 0) continue;
      // White space in front of a text says nothing.
      if (text.empty() && (byte == ' ' || byte == '\n')) continue;
      bytes.push_back(char(byte));
      quote |= byte == '"';
    }
    if (bytes.empty()) break;
    const bool end = quote && !text.empty() && (text.size() > soon || random() % 8 == 0);
    const char byte = end ? '"' : bytes[random() % bytes.size()];
    if (!matcher.accept({&byte, 1})) break;
    text += byte;
  }
  return matcher.complete() ? text : "";
}

// `work` with so many of them, most of which must come to an end.
template <class Work>
void for_random_texts(const std::shared_ptr<const anser::Constraint>& constraint, int count,
                      Work&& work, size_t soon = 60) {
  std::mt19937 random(1);
  int ended = 0;
  for (int i = 0; i < count; ++i) {
    const std::string text = random_text(constraint, random, soon);
    if (text.empty()) continue;
    ++ended;
    work(text);
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(ended, count * 3 / 4);
}

}  // namespace support
