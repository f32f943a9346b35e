// Folders as classes for Hugging Face save them, of one small model, and what they must give.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {

using namespace support;

class HuggingFace : public testing::Test {
 protected:
  static constexpr int kTokens = 12;
  // Every rank another, and heads for which the epsilons of the group norm differ.
  static constexpr Shape kShape = {.vocab = 60,
                                   .width = 64,
                                   .layers = 3,
                                   .head_size = 32,
                                   .ffn = 160,
                                   .rank_w = 12,
                                   .rank_a = 10,
                                   .rank_v = 6,
                                   .rank_g = 20};

  using Change = std::function<void(reference::Model&)>;

  std::vector<reference::Vec> expected(const Change& change = {}) const {
    reference::Model m = model_.reference();
    if (change) change(m);
    reference::State state(m);
    return reference::run(m, state, ids_);
  }
  void expect_reference(const std::string& path, const Change& change = {}) {
    SCOPED_TRACE(path);
    const auto want = expected(change);
    const auto got = all_logits(path, ids_);
    for (int t = 0; t < kTokens; ++t) {
      expect_close(got[t], want[t], float_tolerance(kShape, largest(want[t])),
                   "token " + std::to_string(t));
    }
  }
  std::string folder(const HfOptions& options, const RandomModel& model) {
    const std::string path = dir_ / ("hf" + std::to_string(folders_++));
    write_hf_folder(path, model, options);
    return path;
  }
  std::string folder(const HfOptions& options) { return folder(options, model_); }
  static std::string file(const std::string& folder) { return folder + "/model.safetensors"; }
  void expect_refused(const std::string& config, const std::vector<std::string>& words,
                      HfLayout layout = HfLayout::rwkv7) {
    const std::string path = folder({.layout = layout, .config = config});
    expect_error(words, [&] { Model::open(path); });
    expect_error(words, [&] { Model::open(file(path)); });
  }
  // The model with ln0's results in place of its embedding.
  RandomModel fused(bool keep_ln0) const {
    RandomModel model = model_;
    const auto weight = model["blocks.0.ln0.weight"].values,
               bias = model["blocks.0.ln0.bias"].values;
    std::vector<double>& table = model["emb.weight"].values;
    const size_t D = size_t(kShape.width);
    for (size_t row = 0; row < table.size(); row += D) {
      double mean = 0, variance = 0;
      for (size_t i = 0; i < D; ++i) mean += table[row + i] / double(D);
      for (size_t i = 0; i < D; ++i) variance += std::pow(table[row + i] - mean, 2) / double(D);
      for (size_t i = 0; i < D; ++i) {
        table[row + i] =
            float((table[row + i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i]);
      }
    }
    if (!keep_ln0) {
      std::erase_if(model.tensors,
                    [](const Tensor& t) { return t.name.find("ln0") != std::string::npos; });
    }
    return model;
  }
  static RandomModel without(RandomModel model, const std::string& part) {
    std::erase_if(model.tensors,
                  [&](const Tensor& t) { return t.name.find(part) != std::string::npos; });
    return model;
  }

  const RandomModel model_ = random_model(kShape);
  const std::vector<int> ids_ = random_tokens(kTokens, kShape.vocab);
  TempDir dir_;
  int folders_ = 0;
};

}  // namespace anser
