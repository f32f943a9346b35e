// anser quantize and anser convert, from the shell's side.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Json = nlohmann::json;

// The embedded model, whose weights are Q8_0, once more with all of its values in 32 bits.
const std::string& embedded_in_full() {
  static const TempDir folder;
  static const std::string path = [] {
    const std::string quantised = std::string(ANSER_SOURCE_DIR) + "/models/default.gguf";
    const Result result =
        run_anser({"convert", quantised, folder / "embedded.gguf", "--type", "f32"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return folder / "embedded.gguf";
  }();
  return path;
}

int files_in(const std::string& folder) {
  return int(std::distance(std::filesystem::directory_iterator(folder), {}));
}

// Done, nothing on stdout, and the size on stderr.
Result expect_done(std::vector<std::string> arguments) {
  const Result result = run_anser(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("bits per weight"), std::string::npos) << result.err;
  return result;
}

Json compare(const std::string& model, const std::string& base, const std::string& text,
             std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"eval", "-m", model, "--kl", base, "--text", text, "--json"};
  words.insert(words.end(), more.begin(), more.end());
  const Result result = run_anser(words);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return Json::parse(result.out);
}

TEST(Quantize, TheEmbeddedModelInFewerBits) {
  const TempDir dir;
  write_file(dir / "text",
             "Once upon a time there was a goose. She lived in a small house by the "
             "lake, and every day she went to swim with her friends.");
  double last = 0;
  for (const std::string type : {"q8_0", "q4_0"}) {
    expect_done({"quantize", embedded_in_full(), dir / (type + ".gguf"), "--type", type});
    const Json result = compare(dir / (type + ".gguf"), embedded_in_full(), dir / "text");
    EXPECT_GT(result["mean_kl"].get<double>(), 2 * last);
    last = result["mean_kl"].get<double>();
    EXPECT_GT(result["same_best"].get<double>(), 0.8);
  }
  EXPECT_LT(last, 0.03);
  EXPECT_LT(std::filesystem::file_size(dir / "q8_0.gguf"), 9'000'000u);
  EXPECT_LT(std::filesystem::file_size(dir / "q4_0.gguf"), 5'800'000u);
  // The tokenizer is in the file.
  const Result run =
      run_anser({"run", "-m", dir / "q4_0.gguf", "-p", "Once upon a time", "-n", "5"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

TEST(Quantize, SaysThatQualityIsLostTwice) {
  const TempDir dir;
  expect_done({"quantize", vocabulary_model(), dir / "a.gguf", "--type", "Q8_0"});
  const Result again = expect_done({"quantize", dir / "a.gguf", dir / "b.gguf", "--type", "q4_0"});
  EXPECT_NE(again.err.find("Q8_0 already"), std::string::npos) << again.err;
  const Result rounded = expect_done({"convert", dir / "a.gguf", dir / "c.gguf"});
  EXPECT_NE(rounded.err.find("--type f32"), std::string::npos) << rounded.err;
  const Result exact = expect_done({"convert", dir / "a.gguf", dir / "d.gguf", "--type", "f32"});
  EXPECT_EQ(exact.err.find("--type f32"), std::string::npos) << exact.err;
}

TEST(Quantize, KTypesWantRowsOf256) {
  const TempDir dir;
  const Result result =
      run_anser({"quantize", vocabulary_model(), dir / "a.gguf", "--type", "q4_k"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("blocks of 256"), std::string::npos) << result.err;
  EXPECT_EQ(files_in(dir.path()), 0);
}

TEST(Convert, ThereAndBackGivesTheSameLogits) {
  const TempDir dir;
  write_file(dir / "text", "The quick brown fox jumps over the lazy dog.");
  expect_done(
      {"convert", embedded_in_full(), dir / "a.safetensors", "--save-vocab", dir / "vocabulary"});
  const std::vector<std::string> vocabulary = {"--vocab", dir / "vocabulary"};
  EXPECT_EQ(compare(dir / "a.safetensors", embedded_in_full(), dir / "text", vocabulary)["mean_kl"],
            0.0);
  expect_done({"convert", dir / "a.safetensors", dir / "b.gguf", "--type", "f32", "--vocab",
               dir / "vocabulary"});
  EXPECT_EQ(compare(dir / "b.gguf", embedded_in_full(), dir / "text")["max_kl"], 0.0);
  expect_done({"convert", dir / "b.gguf", dir / "c.gguf"});
  // Weights from Q8_0 have 18 bits, of which F16 keeps 11; from F16 nothing is lost any more.
  EXPECT_LT(compare(dir / "c.gguf", embedded_in_full(), dir / "text")["max_kl"], 1e-5);
  expect_done({"convert", dir / "c.gguf", dir / "d.safetensors"});
  EXPECT_EQ(compare(dir / "d.safetensors", dir / "c.gguf", dir / "text", vocabulary)["max_kl"],
            0.0);
}

// Types that are repacked when they are loaded: converting rounds once, and says of what.
TEST(Convert, FromTypesThatAreRepacked) {
  const TempDir dir;
  const RandomModel model = random_model({.vocab = 300, .width = 256, .layers = 1, .ffn = 256});
  write_gguf(dir / "q2_k.gguf", model, {.type = Ggml::q2_k, .byte_vocabulary = true});
  write_gguf(dir / "q3_k.gguf", model, {.type = Ggml::q3_k, .byte_vocabulary = true});
  write_file(dir / "text", "The quick brown fox jumps over the lazy dog.");

  const Result rounded = expect_done({"convert", dir / "q2_k.gguf", dir / "f16.gguf"});
  EXPECT_NE(rounded.err.find("the Q2_K weights"), std::string::npos) << rounded.err;
  EXPECT_NE(rounded.err.find("--type f32 keeps"), std::string::npos) << rounded.err;
  // The same rounding as when it runs.
  EXPECT_EQ(compare(dir / "f16.gguf", dir / "q2_k.gguf", dir / "text")["max_kl"], 0.0);

  const Result again =
      expect_done({"quantize", dir / "q3_k.gguf", dir / "q6_k.gguf", "--type", "q6_k"});
  EXPECT_NE(again.err.find("Q3_K already"), std::string::npos) << again.err;
  const Json result = compare(dir / "q6_k.gguf", dir / "q3_k.gguf", dir / "text");
  EXPECT_LT(result["max_kl"].get<double>(), 1e-6);

  const Result info = run_anser({"info", "-m", dir / "q3_k.gguf"});
  EXPECT_NE(info.out.find("weights Q3_K, run as Q6_K\n"), std::string::npos) << info.out;
  // Once for each load.
  const size_t note = info.err.find("8 Q3_K matrices as Q6_K (the same numbers)");
  EXPECT_NE(note, std::string::npos) << info.err;
  EXPECT_EQ(info.err.find("repacked", note), std::string::npos) << info.err;
}

TEST(Convert, SaysWhatHasNoPlace) {
  const TempDir dir;
  const Result vocabulary = expect_done({"convert", embedded_in_full(), dir / "a.safetensors"});
  EXPECT_NE(vocabulary.err.find("--save-vocab"), std::string::npos) << vocabulary.err;
  write_pth(dir / "unknown.pth", random_model({.vocab = 300, .width = 64, .layers = 1, .ffn = 64}));
  const Result none = expect_done({"convert", dir / "unknown.pth", dir / "b.gguf"});
  EXPECT_NE(none.err.find("--vocab"), std::string::npos) << none.err;
  // Bytes need no vocabulary.
  const Result bytes = expect_done({"convert", byte_model(), dir / "c.safetensors"});
  EXPECT_EQ(bytes.err.find("vocab"), std::string::npos) << bytes.err;
}

TEST(Convert, OutMustNotBeIn) {
  const TempDir dir;
  const std::string model = dir / "m.gguf";
  std::filesystem::copy_file(vocabulary_model(), model);
  std::filesystem::create_symlink(model, dir / "link.gguf");
  std::filesystem::create_hard_link(model, dir / "same.gguf");
  write_hf_folder(dir / "hf", random_model({.vocab = 256, .width = 64, .layers = 1, .ffn = 64}));
  const std::string before = read_file(model);
  const std::vector<std::vector<std::string>> wrong = {
      {"convert", model, model},
      {"convert", model, dir / "link.gguf"},
      {"quantize", model, dir / "same.gguf", "--type", "q8_0"},
      {"convert", dir / "hf", dir / "hf/model.safetensors"}};
  for (const auto& arguments : wrong) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments[2];
    EXPECT_NE(result.err.find("read from"), std::string::npos) << result.err;
  }
  EXPECT_EQ(read_file(model), before);
  // Beside the model's files in its folder is another matter.
  expect_done({"convert", dir / "hf", dir / "hf/other.gguf"});
}

TEST(Convert, WrongUsage) {
  const TempDir dir;
  const std::vector<std::vector<std::string>> wrong = {
      {"convert"},
      {"convert", byte_model()},
      {"convert", byte_model(), dir / "a.pth"},
      {"convert", byte_model(), dir / "a"},
      {"convert", byte_model(), dir / "a.gguf", "--type", "q8_0"},
      {"quantize", byte_model(), dir / "a.gguf"},
      {"quantize", byte_model(), dir / "a.gguf", "--type", "f16"},
      {"quantize", byte_model(), dir / "a.gguf", "--type", "q4_1"},
      {"quantize", byte_model(), dir / "a.safetensors", "--type", "q8_0"},
      {"quantize", byte_model(), dir / "a.gguf", "--type", "q8_0", "--threads", "-1"}};
  for (const auto& arguments : wrong) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("--help"), std::string::npos) << result.err;
  }
  EXPECT_EQ(files_in(dir.path()), 0);
}

TEST(Convert, WhatCannotBeWrittenIsExplainedAndLeavesNothing) {
  const TempDir dir;
  std::filesystem::create_symlink("/dev/full", dir / "full.gguf");
  std::filesystem::create_symlink("/dev/full", dir / "full.safetensors");
  const std::pair<std::string, const char*> places[] = {
      {"/nonexistent/a.gguf", "No such file"},
      {dir / "full.gguf", "No space left"},
      {dir / "full.safetensors", "No space left"}};
  for (const auto& [out, reason] : places) {
    const Result result = run_anser({"convert", byte_model(), out});
    EXPECT_EQ(result.exit_code, 1) << out;
    EXPECT_NE(result.err.find(reason), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(out), std::string::npos) << result.err;
  }
  EXPECT_EQ(run_anser({"convert", "/nonexistent/model", dir / "a.gguf"}).exit_code, 1);
  EXPECT_EQ(files_in(dir.path()), 2);
}

}  // namespace
}  // namespace support
