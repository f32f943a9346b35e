// anser logits: the .npy file, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "cli/models.h"
#include "cli/program.h"
#include "reference/rwkv7_reference.h"
#include "support/compare.h"

namespace support {
namespace {

struct Array {
  int rows = 0, cols = 0;
  std::vector<float> values;
};

// Strict: exactly what `anser logits` promises.
Array read_npy(const std::string& path) {
  const std::string bytes = read_file(path);
  Array array;
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t header = 10 + uint8_t(bytes[8]) + 256 * uint8_t(bytes[9]);
  EXPECT_EQ(header % 64, 0u);
  const std::string text = bytes.substr(10, header - 10);
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(
      std::sscanf(text.c_str(), "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
                  &array.rows, &array.cols),
      2)
      << text;
  array.values.resize((bytes.size() - header) / 4);
  std::memcpy(array.values.data(), bytes.data() + header, array.values.size() * 4);
  EXPECT_EQ(array.values.size(), size_t(array.rows) * array.cols);
  EXPECT_EQ((bytes.size() - header) % 4, 0u);
  return array;
}

Array logits(std::vector<std::string> more) {
  const TempDir folder;
  std::vector<std::string> arguments = {"logits", "-m", byte_model(), "-o", folder / "x.npy"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Result result = run_anser(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_FALSE(std::filesystem::exists(folder / "x.npy.part"));
  return read_npy(folder / "x.npy");
}

TEST(Logits, AllRowsAgreeWithTheReference) {
  const Array array = logits({"-p", "Once upon", "--all"});
  EXPECT_EQ(array.rows, 9);
  EXPECT_EQ(array.cols, 256);
  const reference::Model model = random_model({.vocab = 256}, 1).reference();
  reference::State state(model);
  const auto expected = reference::run(model, state, {'O', 'n', 'c', 'e', ' ', 'u', 'p', 'o', 'n'});
  for (int row = 0; row < array.rows; ++row) {
    const auto& want = expected[size_t(row)];
    expect_close(std::span(array.values).subspan(size_t(row) * 256, 256), want,
                 float_tolerance({.vocab = 256}, largest(want)), "row " + std::to_string(row));
  }
}

TEST(Logits, OneRowIsTheLastOfAll) {
  const Array all = logits({"-p", "Once upon", "--all"}), last = logits({"-p", "Once upon"});
  EXPECT_EQ(last.rows, 1);
  EXPECT_EQ(last.values, std::vector<float>(all.values.end() - 256, all.values.end()));
}

TEST(Logits, TokensAreTakenAsGiven) {
  EXPECT_EQ(logits({"--tokens", "79,110", "--all"}).values, logits({"-p", "On", "--all"}).values);
  // Also with a vocabulary whose prompts `run` would begin with token 0.
  const TempDir folder;
  run_anser({"logits", "-m", vocabulary_model(), "-p", "On", "--all", "-o", folder / "text.npy"});
  run_anser({"logits", "-m", vocabulary_model(), "--tokens", "80,111", "--all", "-o",
             folder / "ids.npy"});
  EXPECT_EQ(read_npy(folder / "text.npy").rows, 2);
  EXPECT_TRUE(read_file(folder / "text.npy") == read_file(folder / "ids.npy"));
}

TEST(Logits, GoesOnFromASavedState) {
  const TempDir folder;
  const Array whole = logits({"-p", "Once upon", "--all"});
  EXPECT_EQ(
      run_anser({"run", "-m", byte_model(), "-p", "Once", "-n", "0", "--save-state", folder / "s"})
          .exit_code,
      0);
  const Array rest = logits({"-p", " upon", "--all", "--load-state", folder / "s"});
  EXPECT_EQ(rest.rows, 5);
  EXPECT_TRUE(std::equal(rest.values.begin(), rest.values.end(), whole.values.begin() + 4 * 256));
  EXPECT_EQ(logits({"-p", " upon", "--load-state", folder / "s"}).values,
            std::vector<float>(whole.values.end() - 256, whole.values.end()));
}

// A tuned initial state is where the text begins, whichever way round its file has it.
TEST(Logits, BeginWithATunedState) {
  const TempDir folder;
  RandomModel model = random_model({.vocab = 256}, 1);
  std::vector<Tensor> tuned, converted;
  for (int l = 0; l < 3; ++l) {
    Tensor tensor{"blocks." + std::to_string(l) + ".att.time_state", {2, 64, 64}, {}};
    for (int i = 0; i < 2 * 4096; ++i) tensor.values.push_back((i % 89 - 44) * 0x1p-7);
    tuned.push_back(tensor);
    converted.push_back(transposed(tensor));
    model.tensors.push_back(tensor);
  }
  write_pth_raw(folder / "t.pth", tuned, {.type = Float::f32});
  write_safetensors_raw(folder / "t.st", converted, Float::f16);
  const reference::Model with = model.reference();
  reference::State state(with);
  const auto expected = reference::run(with, state, {'a', 'b'});
  for (const char* file : {"t.pth", "t.st"}) {
    const Array array = logits({"-p", "ab", "--all", "--load-state", folder / file});
    for (int row = 0; row < 2; ++row) {
      const auto& want = expected[size_t(row)];
      expect_close(std::span(array.values).subspan(size_t(row) * 256, 256), want,
                   float_tolerance({.vocab = 256}, largest(want)), file);
    }
  }
}

// A logit that overflows where nothing of it stays in the state: only some rows have it.
std::string overflowing_model(const TempDir& folder) {
  RandomModel model = random_model({.vocab = 256}, 1);
  for (double& x : model["head.weight"].values) x = 0;
  model["head.weight"].values[5] = 0x1p127;
  write_safetensors(folder / "overflow", model);
  return folder / "overflow";
}

TEST(Logits, NoRowIsWrittenThatIsNotFinite) {
  const TempDir folder;
  const std::string model = overflowing_model(folder), text = "One day, a little goose went out";
  // Which rows are not finite, one by one.
  std::vector<bool> finite;
  for (size_t n = 1; n <= text.size(); ++n) {
    const Result result =
        run_anser({"logits", "-m", model, "-p", text.substr(0, n), "-o", folder / "x.npy"});
    finite.push_back(result.exit_code == 0);
    EXPECT_EQ(std::filesystem::exists(folder / "x.npy"), finite.back());
    std::filesystem::remove(folder / "x.npy");
  }
  const auto bad = size_t(std::find(finite.begin(), finite.end(), false) - finite.begin());
  const auto good = size_t(std::find(finite.begin() + bad, finite.end(), true) - finite.begin());
  ASSERT_LT(good, text.size()) << "no row is finite after one that is not";
  const Result all = run_anser(
      {"logits", "-m", model, "-p", text.substr(0, good + 1), "--all", "-o", folder / "x.npy"});
  EXPECT_EQ(all.exit_code, 1);
  EXPECT_NE(all.err.find("not a finite number after " + std::to_string(bad + 1) + " tokens"),
            std::string::npos)
      << all.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "x.npy"));

  write_file(folder / "text", text.substr(0, good + 2));
  for (const auto& what : {std::vector<std::string>{"--perplexity", folder / "text"},
                           {"--kl", byte_model(), "--text", folder / "text"}}) {
    std::vector<std::string> arguments = {"eval", "-m", model};
    arguments.insert(arguments.end(), what.begin(), what.end());
    const Result scored = run_anser(arguments);
    EXPECT_EQ(scored.exit_code, 1);
    EXPECT_EQ(scored.out, "");
    EXPECT_NE(scored.err.find("not a finite number"), std::string::npos) << scored.err;
  }
}

TEST(Logits, LongInputIsCutWithoutATrace) {
  // More than the 256 tokens that are read at once; the first ones must not notice.
  const std::string text(300, 'x');
  const Array whole = logits({"-p", text, "--all"}),
              half = logits({"-p", text.substr(0, 150), "--all"});
  EXPECT_EQ(whole.rows, 300);
  EXPECT_TRUE(std::equal(half.values.begin(), half.values.end(), whole.values.begin()));
  EXPECT_EQ(logits({"-p", text}).values,
            std::vector<float>(whole.values.end() - 256, whole.values.end()));
}

}  // namespace
}  // namespace support
