// Models with adapters merged into them, held against the reference with weights that the test
// merges itself, in double precision.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
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
using Vec = std::vector<double>;

inline constexpr int kAdapterTokens = 12;

// Multiples of 1/256 up to 7/64 in magnitude: every float type holds them exactly.
inline Tensor numbers(const std::string& name, std::vector<int64_t> shape, uint64_t seed,
                      double size = 1) {
  int64_t n = 1;
  for (const int64_t dim : shape) n *= dim;
  Tensor tensor{name, std::move(shape), Vec(size_t(n))};
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (double& value : tensor.values) {
    x = x * 6364136223846793005 + 1442695040888963407;
    value = size * (double((x >> 40) % 57) - 28) / 256;
  }
  return tensor;
}

// W += factor B A.
inline void add_product(Tensor& w, const Tensor& a, const Tensor& b, double factor) {
  const int64_t out = w.shape[0], in = w.shape[1], r = a.shape[0];
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t k = 0; k < in; ++k) {
      double sum = 0;
      for (int64_t j = 0; j < r; ++j) sum += b.values[o * r + j] * a.values[j * in + k];
      w.values[o * in + k] += factor * sum;
    }
  }
}

class AdapterTest : public testing::Test {
 protected:
  AdapterTest() { write_safetensors(path_, base_); }

  OpenOptions with(const std::string& path, double scale = 1, std::optional<double> alpha = {}) {
    return {.adapters = {{.path = path, .scale = scale, .alpha = alpha}}};
  }

  static void expect_logits(const Model& model, const RandomModel& merged,
                            double (*tolerance)(const Shape&, double) = float_tolerance) {
    const auto tokens = random_tokens(kAdapterTokens, merged.shape.vocab);
    reference::Model truth = merged.reference();
    truth.group_norm_eps = model.hyperparameters().group_norm_eps;  // a folder has its own
    reference::State state(truth);
    const auto want = reference::run(truth, state, tokens);
    const auto engine = Engine::create(model, {.device = Device::cpu, .threads = 2});
    const auto got = all_logits(*engine, tokens);
    for (int t = 0; t < kAdapterTokens; ++t) {
      expect_close(got[t], want[t], tolerance(merged.shape, largest(want[t])),
                   "token " + std::to_string(t));
    }
  }
  void expect_logits(const OpenOptions& options, const RandomModel& merged) {
    expect_logits(Model::open(path_, options), merged);
  }
  // That it is refused, in these words.
  void expect_refused(const OpenOptions& options, const std::vector<std::string>& words) {
    expect_error(words, [&] { Model::open(path_, options); });
  }

  std::string write(const std::string& name, const std::vector<Tensor>& tensors) {
    write_safetensors_raw(dir_ / name, tensors, Float::f32);
    return dir_ / name;
  }
  // A folder of PEFT. `members` of its config: `"r": 4, ...`.
  std::string folder(const std::string& name, const std::string& members,
                     const std::vector<Tensor>& tensors) {
    std::filesystem::create_directories(dir_ / name);
    std::ofstream(dir_ / name + "/adapter_config.json") << "{" << members << "}";
    write(name + "/adapter_model.safetensors", tensors);
    return dir_ / name;
  }

  TempDir dir_;
  RandomModel base_ = random_model(kTinyShape);  // width 32, channel mix 64
  std::string path_ = dir_ / "base.safetensors";
};

inline constexpr const char* kKey = "blocks.1.att.key";

}  // namespace anser
