// A model with more tokens than are brought to the sampler, on the CUDA backend.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "cuda/cuda_backend.h"
#include "engine/backend_engine.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {

class CudaSampling : public testing::Test {
 protected:
  void SetUp() override {
    using namespace support;
    Shape shape = kTinyShape;
    shape.vocab = kVocab;
    RandomModel random = random_model(shape);
    // As peaked as a trained model's.
    for (double& value : random["head.weight"].values) value *= 8;
    write_gguf(dir_ / "m.gguf", random, {});
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = std::make_unique<BackendEngine<CudaBackend>>(*model_, EngineOptions{.max_rows = 32});
  }
  static constexpr int kVocab = 1500;
  support::TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace anser
