// Golden vectors of our own: logits of small random models, written down. They hold the reference,
// the maker of random models and the engine in place when any of them is changed.
//
// To make the files again after a deliberate change of the random models:
//   test_engine --gtest_also_run_disabled_tests --gtest_filter='*DISABLED_MakeAgain*'
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "support/compare.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

const std::map<std::string, Shape> kModels = {
    {"heads_of_64", {.vocab = 61, .width = 128, .layers = 3, .ffn = 500}},
    {"heads_of_48", {.vocab = 40, .width = 144, .layers = 2, .head_size = 48, .ffn = 432}},
    {"one_layer", {.vocab = 40, .width = 40, .layers = 1, .head_size = 20, .ffn = 160}},
};
constexpr int kTokens = 70;  // longer than a block of any kernel
constexpr uint64_t kSeed = 20;

std::string golden_path(const std::string& name) {
  return ANSER_SOURCE_DIR "/tests/golden/" + name + ".json";
}

std::vector<reference::Vec> reference_logits(const RandomModel& model,
                                             const std::vector<int>& tokens) {
  const reference::Model m = model.reference();
  reference::State state(m);
  return reference::run(m, state, tokens);
}

class GoldenRandom : public testing::TestWithParam<std::string> {
 protected:
  const Shape shape_ = kModels.at(GetParam());
  const RandomModel model_ = random_model(shape_, kSeed);
  const std::vector<int> tokens_ = random_tokens(kTokens, shape_.vocab, kSeed);

  // "logits": {"row": [V], ...}, rounded to nine decimals.
  std::map<int, std::vector<double>> golden() const {
    const auto json = nlohmann::json::parse(read_file(golden_path(GetParam())));
    EXPECT_EQ(json.at("tokens").get<std::vector<int>>(), tokens_);
    std::map<int, std::vector<double>> rows;
    for (const auto& [row, logits] : json.at("logits").items()) {
      rows[std::stoi(row)] = logits.get<std::vector<double>>();
    }
    EXPECT_EQ(rows.size(), 3u);
    return rows;
  }
};

// Only the last digits of exp and tanh may differ from one system to the next.
TEST_P(GoldenRandom, Reference) {
  const auto found = reference_logits(model_, tokens_);
  for (const auto& [row, logits] : golden()) {
    expect_close(found.at(row), logits, 1e-9, "row " + std::to_string(row));
  }
}

TEST_P(GoldenRandom, EveryTable) {
  TempDir dir;
  write_safetensors(dir / "m", model_);
  const Model model = Model::open(dir / "m");
  for (const Kernels* kernels : supported_kernels()) {
    CpuEngine engine(model, 2, 32, *kernels);
    const auto found = all_logits(engine, tokens_);
    for (const auto& [row, logits] : golden()) {
      expect_close(found.at(row), logits, float_tolerance(shape_, largest(logits)),
                   std::string(kernels->name) + ", row " + std::to_string(row));
    }
  }
}

TEST_P(GoldenRandom, DISABLED_MakeAgain) {
  const auto found = reference_logits(model_, tokens_);
  nlohmann::ordered_json json;
  json["what"] =
      "logits of a random model by tests/reference, double precision; made and read by "
      "tests/engine/golden_random_test.cpp";
  json["tokens"] = tokens_;
  for (const int row : {0, 1, kTokens - 1}) {
    std::vector<double> rounded = found.at(row);
    for (double& x : rounded) x = std::round(x * 1e9) / 1e9;
    json["logits"][std::to_string(row)] = rounded;
  }
  write_file(golden_path(GetParam()), json.dump() + "\n");
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenRandom,
                         testing::Values("heads_of_64", "heads_of_48", "one_layer"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace anser
