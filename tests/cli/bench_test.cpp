// anser bench: what it measures, and what it says of what it could not.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace support {
namespace {

using Json = nlohmann::json;

Json bench(std::vector<std::string> options, int exit_code = 0) {
  std::vector<std::string> arguments = {"bench", "--json", "--device", "cpu", "-n", "4"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const Result result = run_anser(arguments);
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  return Json::parse(result.out);
}

TEST(Bench, OnePromptSeveralPromptsAndBatches) {
  const Json found = bench({"-p", "16,8x3", "-b", "1,2"});
  ASSERT_EQ(found["prefill"].size(), 2u);
  EXPECT_EQ(found["prefill"][0]["tokens"], 16);
  EXPECT_FALSE(found["prefill"][0].contains("prompts"));
  EXPECT_EQ(found["prefill"][1]["tokens"], 8);
  EXPECT_EQ(found["prefill"][1]["prompts"], 3);
  ASSERT_EQ(found["decode"].size(), 2u);
  for (const Json& row : found["prefill"]) EXPECT_GT(row["tok_s"], 0);
  for (const Json& row : found["decode"]) EXPECT_GT(row["fraction"], 0);
  EXPECT_FALSE(found.contains("phases"));
}

TEST(Bench, PhasesOfEveryBatch) {
  const Json found = bench({"-p", "none", "-b", "1,3", "--phases"});
  EXPECT_TRUE(found["prefill"].empty());
  ASSERT_EQ(found["phases"].size(), 2u);
  EXPECT_EQ(found["phases"][1]["batch"], 3);
  const Json& rows = found["phases"][1]["rows"];
  ASSERT_EQ(rows.size(), 7u);
  EXPECT_EQ(rows[1]["phase"], "project");
  for (const Json& row : rows) EXPECT_GT(row["us"], 0) << row;
  const Result table = run_anser({"bench", "-p", "none", "-b", "1", "-n", "4", "--phases"});
  EXPECT_NE(table.out.find("phases of a step, batch 1"), std::string::npos) << table.out;
}

// 0.9 of the activations are to be zero, a statistic over 4 tokens, 12 layers and 3072 numbers.
TEST(Bench, RandomWeightsOfAShape) {
  const Json found = bench({"--shape", "0.1B", "--type", "q8_0", "-p", "none", "-b", "1"});
  EXPECT_EQ(found["type"], "Q8_0");
  EXPECT_EQ(found["model"], "RWKV-7 191M");
  EXPECT_NEAR(found["zero_share"], 0.9, 0.03);
}

TEST(Bench, WhatTimeIsNotEnoughForIsSaid) {
  // The first measurement takes more than the second that all of them have.
  const Json found = bench({"-p", "4096x8,16", "-b", "1", "--seconds", "1"}, 1);
  EXPECT_TRUE(found["prefill"][0].contains("tok_s"));
  EXPECT_EQ(found["prefill"][1]["error"], "not begun within 1 s");
  EXPECT_EQ(found["decode"][0]["error"], "not begun within 1 s");
}

}  // namespace
}  // namespace support
