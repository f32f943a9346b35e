// Random weights of released sizes; what they do when they are computed with is in cli/bench_test.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "anser/error.h"
#include "anser/model.h"
#include "model/dequantize.h"
#include "model/weights.h"

namespace anser {
namespace {

TEST(RandomWeights, HaveTheSizesAndTypesOfTheRelease) {
  const Model model = Model::random({.size = "0.1B", .type = "q4_0"});
  const Hyperparameters& h = model.hyperparameters();
  EXPECT_EQ(h.vocab, 65536);
  EXPECT_EQ(h.width, 768);
  EXPECT_EQ(h.layers, 12);
  EXPECT_EQ(h.head_size, 64);
  EXPECT_EQ(h.ffn, 3072);
  EXPECT_EQ(h.rank_w, 64);
  EXPECT_EQ(h.rank_v, 32);
  EXPECT_EQ(h.rank_g, 128);
  EXPECT_EQ(model.type(), "Q4_0");
  EXPECT_EQ(model.weights().layers[3].att.w1.type, DType::f32);  // as anser quantize has it
  EXPECT_EQ(model.format(), "memory");

  // Rows of a matrix come from one pool, but are not one row; their numbers have the deviation.
  const Matrix& key = model.weights().layers[5].att.key;
  std::vector<float> first(768), second(768);
  dequantize_row(key.type, key.data, 768, first.data());
  dequantize_row(key.type, key.data + key.row_bytes(), 768, second.data());
  double squares = 0, product = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    squares += first[i] * first[i];
    product += first[i] * second[i];
  }
  EXPECT_NEAR(std::sqrt(squares), 0.3, 0.05);
  EXPECT_LT(std::fabs(product), 0.5 * squares);
}

TEST(RandomWeights, AreTheSameEveryTime) {
  const Model a = Model::random({.size = "0.1B", .type = "q8_0"});
  const Model b = Model::random({.size = "0.1B", .type = "q8_0"});
  EXPECT_EQ(a.fingerprint(), b.fingerprint());
  const Matrix &of_a = a.weights().layers[7].ffn.value, &of_b = b.weights().layers[7].ffn.value;
  EXPECT_TRUE(std::equal(of_a.data, of_a.data + of_a.bytes(), of_b.data));
}

TEST(RandomWeights, RefuseWhatThereIsNot) {
  EXPECT_THROW(Model::random({.size = "13B"}), Error);
  EXPECT_THROW(Model::random({.size = "0.1B", .type = "iq2"}), Error);
  EXPECT_THROW(Model::random({.size = "0.1B", .zeros = 1}), Error);
}

}  // namespace
}  // namespace anser
