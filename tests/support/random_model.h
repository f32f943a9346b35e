// Small random models whose numbers every float format holds exactly.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reference/rwkv7_reference.h"

namespace support {

struct Shape {
  int vocab = 300;
  int width = 128, layers = 3, head_size = 64, ffn = 512;
  int rank_w = 32, rank_a = 24, rank_v = 16, rank_g = 40;
};

// For tests that need a model, but no particular one: 100 KB in fp32.
inline constexpr Shape kTinyShape = {.vocab = 20,
                                     .width = 32,
                                     .layers = 2,
                                     .head_size = 16,
                                     .ffn = 64,
                                     .rank_w = 8,
                                     .rank_a = 8,
                                     .rank_v = 8,
                                     .rank_g = 8};

// One tensor under its original name, [outputs][inputs] but for the low-rank ones.
struct Tensor {
  std::string name;
  std::vector<int64_t> shape;  // as BlinkDL's files have it: [1, 1, D] for mixes and biases
  std::vector<double> values;

  bool low_rank() const;
  bool matrix() const { return shape.size() == 2 && !name.ends_with("r_k"); }
};

struct RandomModel {
  Shape shape;
  std::vector<Tensor> tensors;  // in checkpoint order; layer 0 has no v0 v1 v2

  Tensor& operator[](const std::string& name);
  reference::Model reference() const;
};

// Scales as trained models have them, so that nothing explodes or dies. All values have 8
// significant bits and exponents that bf16 and fp16 share. The same numbers with every compiler.
RandomModel random_model(const Shape& shape, uint64_t seed = 1);

// Tokens spread over the vocabulary.
std::vector<int> random_tokens(int count, int vocab, uint64_t seed = 1);

}  // namespace support
