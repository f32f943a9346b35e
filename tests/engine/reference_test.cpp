// The tests of the test's truth: the double-precision reference against numbers of others.
#include "reference/rwkv7_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "support/compare.h"
#include "support/temp_dir.h"
#include "support/test_data.h"

namespace anser {
namespace {

using namespace support;

std::vector<int> bytes(const std::string& text) {
  std::vector<int> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double e : x) sum += e * e;
  return std::sqrt(sum);
}

int argmax(const std::vector<double>& x) {
  return int(std::max_element(x.begin(), x.end()) - x.begin());
}

// rwkv.cpp publishes these 256 logits for the three bytes "in (with the quotation mark); it
// computes in fp32, whose noise over 12 layers is 3.7e-7 here.
TEST(Reference, PublishedLogits) {
  ANSER_TEST_DATA_OR_SKIP(path, "tiny-834k.safetensors");
  ANSER_TEST_DATA_OR_SKIP(expected_path, "tiny-834k.expected-logits.f32");
  const reference::Model model = read_reference_model(path);
  reference::State state(model);
  const auto logits = reference::run(model, state, bytes("\"in")).back();
  const std::vector<float> expected = read_f32(expected_path);
  expect_close(expected, logits, 5e-7, "after \"in");
}

// Double-precision logits of another implementation, printed with nine digits.
TEST(Reference, VectorsOverALongerText) {
  ANSER_TEST_DATA_OR_SKIP(path, "tiny-834k.safetensors");
  ANSER_TEST_DATA_OR_SKIP(vectors_path, "tiny-834k-vectors.json");
  const reference::Model model = read_reference_model(path);
  const auto vectors = nlohmann::json::parse(read_file(vectors_path));
  reference::State state(model);
  const auto logits = reference::run(model, state, bytes(vectors["text"].get<std::string>()));
  ASSERT_EQ(vectors["logits_f64_after_index"].size(), 5u);
  for (const auto& [index, expected] : vectors["logits_f64_after_index"].items()) {
    expect_close(logits.at(std::stoul(index)), expected.get<std::vector<double>>(), 1e-8,
                 "after " + index);
  }
}

// State norms and entries, six printed digits; the entries fix which axis is the value.
TEST(Reference, StateAfterPrompt) {
  ANSER_TEST_DATA_OR_SKIP(path, "tiny-834k.safetensors");
  const reference::Model model = read_reference_model(path);
  reference::State state(model);
  reference::run(model, state, bytes("\"in"));
  const double norms[] = {3.260467, 2.531446, 2.569667, 2.947220, 2.823656, 3.493429,
                          3.446924, 3.933912, 4.048832, 4.390895, 5.291597, 5.070072};
  ASSERT_EQ(state.wkv.size(), std::size(norms));
  for (size_t l = 0; l < std::size(norms); ++l) {
    EXPECT_NEAR(norm(state.wkv[l]), norms[l], 1e-6) << "layer " << l;
  }
  const double first[] = {0.0153646, -0.0060988, -0.0074516, -0.0120749};
  const double last[] = {0.0094003, 0.0772824, -0.0599675, -0.0284659};
  for (int j = 0; j < 4; ++j) {
    EXPECT_NEAR(state.wkv[0][j], first[j], 1e-7);
    EXPECT_NEAR(state.wkv[11][63 * 64 + 60 + j], last[j], 1e-7);
  }
  const double att[] = {7.991420, 7.985766, 7.999623}, ffn[] = {8.070913, 8.066179, 8.068127};
  for (int l = 0; l < 3; ++l) {
    EXPECT_NEAR(norm(state.att_shift[l]), att[l], 1e-6);
    EXPECT_NEAR(norm(state.ffn_shift[l]), ffn[l], 1e-6);
  }

  state = reference::State(model);
  const auto logits = reference::run(model, state, bytes("Once upon a time")).back();
  const double longer[] = {8.114456, 6.739846, 6.270323, 6.612683, 6.406488, 7.192210,
                           7.062392, 7.698987, 7.178064, 7.905073, 8.948984, 8.831255};
  for (size_t l = 0; l < std::size(longer); ++l) {
    EXPECT_NEAR(norm(state.wkv[l]), longer[l], 1e-6) << "layer " << l;
  }
  double sum = 0;
  for (const double e : logits) sum += e;
  EXPECT_NEAR(sum, -90.487600, 1e-6);
  EXPECT_EQ(argmax(logits), 32);
  EXPECT_NEAR(logits[32], 2.802676, 1e-6);
}

TEST(Reference, GreedyContinuation) {
  ANSER_TEST_DATA_OR_SKIP(path, "tiny-834k.safetensors");
  const reference::Model model = read_reference_model(path);
  reference::State state(model);
  std::vector<double> logits = reference::run(model, state, bytes("\"in")).back();
  std::string text;
  for (int i = 0; i < 24; ++i) {
    const int token = argmax(logits);
    text += char(token);
    logits = reference::step(model, state, token);
  }
  EXPECT_EQ(text, " the the the the the the");
}

}  // namespace
}  // namespace anser
