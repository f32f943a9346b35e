// info, tokenize and bench.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Json = nlohmann::json;

TEST(Info, DescribesTheMachine) {
  const Result result = run_anser({"info"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* what : {"anser", "processor", "memory", "kernels chosen", "CUDA", "World"}) {
    EXPECT_NE(result.out.find(what), std::string::npos) << what;
  }
}

TEST(Info, DescribesAModel) {
  const Result result = run_anser({"info", "-m", vocabulary_model()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  // 3 layers of width 128 with 2 heads of 64: 3 * (2 * 128 + 128 * 64) = 25344 numbers.
  for (const char* what : {"GGUF", "3 of width 128, 2 heads of 64, channel mix 512", "300 tokens",
                           "25 344 numbers", "F16"}) {
    EXPECT_NE(result.out.find(what), std::string::npos) << what << " in\n" << result.out;
  }
}

TEST(Tokenize, AnIdAndAPiecePerLine) {
  const TempDir folder;
  write_file(folder / "vocabulary.txt", [] {
    std::string text;
    const char* hex = "0123456789abcdef";
    for (int byte = 0; byte < 256; ++byte) {
      text += std::to_string(byte + 1) + " b'\\x" + hex[byte / 16] + hex[byte % 16] + "' 1\n";
    }
    return text + "257 'lo\\n' 3\n258 '\\u20ac' 3\n";
  }());
  const std::vector<std::string> command = {"tokenize", "--vocab", folder / "vocabulary.txt"};
  const std::string text = "a\\lo\n\xe2\x82\xac\xe2\x82z\x7f";
  const std::string expected =
      "98\ta\n93\t\\\\\n257\tlo\\n\n258\t\xe2\x82\xac\n227\t\\xe2\n131\t\\x82\n123\tz\n128\t\\x7f"
      "\n";
  auto with_text = command;
  with_text.push_back(text);
  EXPECT_EQ(run_anser(with_text).out, expected);
  EXPECT_EQ(run_anser(command, text).out, expected);

  with_text.push_back("--json");
  const Json object = Json::parse(run_anser(with_text).out);
  EXPECT_EQ(object["ids"], Json({98, 93, 257, 258, 227, 131, 123, 128}));
  EXPECT_EQ(object["pieces"][2], "lo\\n");
  EXPECT_EQ(object["pieces"][4], "\\xe2");
}

TEST(Tokenize, WithAModelsVocabulary) {
  EXPECT_EQ(run_anser({"tokenize", "-m", byte_model(), "hi"}).out, "104\th\n105\ti\n");
  EXPECT_EQ(run_anser({"tokenize", "-m", vocabulary_model(), "hi"}).out, "105\th\n106\ti\n");
  EXPECT_EQ(run_anser({"tokenize", "-m", byte_model(), ""}).out, "");
}

TEST(Bench, JsonHasTheContractsKeys) {
  const Result result =
      run_anser({"bench", "-m", byte_model(), "-p", "8,4", "-n", "2", "-b", "1,3", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json object = Json::parse(result.out);
  for (const char* key : {"model", "type", "threads", "isa", "stream_gb_s", "peak_gflop_s",
                          "peak_type", "peak_int8_gop_s", "peak_int4_gop_s", "load_s",
                          "peak_rss_mb", "zero_share", "prefill", "decode"}) {
    EXPECT_TRUE(object.contains(key)) << key;
  }
  EXPECT_EQ(object.size(), 14u);
  EXPECT_GT(object["stream_gb_s"], 0.1);
  EXPECT_GT(object["peak_gflop_s"], 1.0);
  ASSERT_EQ(object["prefill"].size(), 2u);
  EXPECT_EQ(object["prefill"][0]["tokens"], 8);
  EXPECT_GT(object["prefill"][0]["tok_s"], 0.0);
  EXPECT_GT(object["prefill"][0]["fraction"], 0.0);
  EXPECT_EQ(object["prefill"][0]["of"], "fp32");  // the model's type is F32
  // Random weights leave about half of them zero.
  EXPECT_GT(object["zero_share"], 0.2);
  EXPECT_LT(object["zero_share"], 0.8);
  ASSERT_EQ(object["decode"].size(), 2u);
  EXPECT_EQ(object["decode"][1]["batch"], 3);
  for (const char* key : {"tok_s", "gb_s", "fraction"}) EXPECT_GT(object["decode"][1][key], 0.0);
}

TEST(Bench, PrintsATableOtherwise) {
  const Result result = run_anser({"bench", "-m", byte_model(), "-p", "4", "-n", "1", "-b", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("prefill 4"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("decode, batch 1"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace support
