// --lora on the command line.
#include <gtest/gtest.h>

#include <filesystem>

#include "cli/models.h"
#include "cli/program.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace support {
namespace {

class Lora : public testing::Test {
 protected:
  // W + D of one column's worth.
  std::string adapter(const std::string& name, double size = 1) {
    Tensor d{"blocks.0.att.output.disha", {1, 128}, std::vector<double>(128)};
    for (size_t i = 0; i < d.values.size(); ++i) d.values[i] = size * double(i % 7) / 16;
    write_safetensors_raw(dir_ / name, {d}, Float::f32);
    return dir_ / name;
  }
  std::string lora(const std::string& name) {
    const Tensor a{"blocks.0.att.output.lora_A", {1, 128}, std::vector<double>(128, 0.25)},
        b{"blocks.0.att.output.lora_B", {128, 1}, std::vector<double>(128, 0.5)};
    write_safetensors_raw(dir_ / name, {a, b}, Float::f32);
    return dir_ / name;
  }
  // The bytes of the .npy file.
  std::string logits(const std::vector<std::string>& more,
                     const std::string& model = byte_model()) {
    std::vector<std::string> arguments = {"logits", "-m", model,         "-p",
                                          "goose",  "-o", dir_ / "x.npy"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return read_file(dir_ / "x.npy");
  }
  static void expect_failure(const std::vector<std::string>& arguments, int code,
                             const std::string& words) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(words), std::string::npos) << result.err;
  }

  TempDir dir_;
};

TEST_F(Lora, ANumberBehindTheLastColonIsTheScale) {
  const std::string whole = adapter("a.st"), half = adapter("half.st", 0.5);
  EXPECT_NE(logits({"--lora", whole}), logits({}));
  EXPECT_EQ(logits({"--lora", whole + ":0.5"}), logits({"--lora", half}));
  EXPECT_EQ(logits({"--lora", whole + ":0"}), logits({}));
  EXPECT_EQ(logits({"--lora", half, "--lora", half}), logits({"--lora", whole}));
  // What exists is the path.
  std::filesystem::rename(whole, dir_ / "a.st:0.5");
  EXPECT_EQ(logits({"--lora", dir_ / "a.st:0.5"}), logits({"--lora", adapter("a.st")}));
  EXPECT_EQ(logits({"--lora", dir_ / "a.st:0.5:0.5"}), logits({"--lora", half}));

  const std::vector<std::string> info = {"info", "-m", byte_model(), "--lora"};
  const auto with = [&](const std::string& given) {
    std::vector<std::string> all = info;
    all.push_back(given);
    return all;
  };
  expect_failure(with(half + ":2x"), 2, "'2x'");
  expect_failure(with(half + ":inf"), 2, "'inf'");
  expect_failure(with(half + ":"), 2, "no number");
  expect_failure(with(dir_ / "none:2"), 1, "none");
  expect_failure(with(""), 2, "empty");
}

TEST_F(Lora, IsShownAndWritten) {
  const std::string path = adapter("a.st");
  const Result info = run_anser({"info", "-m", byte_model(), "--lora", path + ":0.5"});
  EXPECT_EQ(info.exit_code, 0) << info.err;
  EXPECT_NE(info.out.find("adapter          " + path + ": MiSS of rank 1, times 0.5, 1 matrices"),
            std::string::npos)
      << info.out;
  EXPECT_NE(info.err.find("1 matrices were changed"), std::string::npos) << info.err;

  const std::string merged = dir_ / "merged.safetensors";
  const Result result = run_anser({"convert", byte_model(), merged, "--lora", path});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("a.st: MiSS"), std::string::npos) << result.err;
  // The base is F32, and so is what is written.
  EXPECT_EQ(logits({}, merged), logits({"--lora", path}));
  const Result quantised =
      run_anser({"quantize", byte_model(), dir_ / "q.gguf", "--type", "q8_0", "--lora", path});
  EXPECT_EQ(quantised.exit_code, 0) << quantised.err;
  EXPECT_NE(quantised.err.find("a.st: MiSS"), std::string::npos) << quantised.err;
  EXPECT_EQ(
      run_anser({"convert", merged, dir_ / "q.gguf", "--lora", path, "--type", "f16"}).exit_code,
      0);
}

TEST_F(Lora, OptionsThatWouldDoNothingAreRefused) {
  const std::string miss = adapter("a.st"), two = lora("b.st");
  expect_failure({"info", "-m", byte_model(), "--lora", two}, 1, "--lora-alpha");
  expect_failure({"info", "-m", byte_model(), "--lora", miss, "--lora-alpha", "16"}, 1,
                 "leave it out");
  expect_failure({"info", "-m", byte_model(), "--lora-alpha", "16"}, 2, "--lora");
  expect_failure({"info", "-m", byte_model(), "--lora", miss, "--lora", two, "--lora-init", miss},
                 2, "--lora-init");
  expect_failure({"info", "--lora", miss}, 2, "-m");
  expect_failure({"tokenize", "--vocab", miss, "--lora", miss, "x"}, 2, "-m");
  expect_failure({"bench", "--shape", "0.1B", "--lora", miss}, 2, "random");
  expect_failure(
      {"convert", byte_model(), dir_ / "a.safetensors", "--lora", adapter("a.safetensors")}, 2,
      "read from");
  expect_failure({"info", "-m", miss}, 1, "--lora");
  expect_failure({"run", "-m", byte_model(), "-p", "x", "--load-state", miss}, 1, "--lora");
}

}  // namespace
}  // namespace support
