// The time mix, by the kernel for few rows and by those for many.
#include <cmath>

#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

struct Heads {
  int heads, size;
};

class RecurKernel : public KernelTest, public testing::WithParamInterface<Heads> {
 protected:
  // One layer's inputs, on the host and on the device, and what recur() would read of them.
  struct Layer {
    twins::TimeMix twin;
    RecurArgs args = {};
    DeviceArray<float> v, y, vectors, bonus;
    std::vector<float> z;
    std::vector<TestMatrix> pairs;
  };

  Layer layer(const TestStep& step, int64_t offset, bool first_layer, Storage storage) {
    const auto [heads, N] = GetParam();
    const int rows = step.rows(), D = heads * N;
    const size_t n = size_t(rows) * D;
    Layer l;
    l.twin.heads = l.args.heads = heads;
    l.twin.head_size = l.args.head_size = N;
    l.args.step = step.table;
    l.args.layer_offset = offset;
    const auto numbers = [&](twins::Numbers& twin, const float*& device, float scale) {
      const std::vector<float> x = normals(n, scale);
      twin = twins::inputs(x);
      device = keep(x);
    };
    numbers(l.twin.r, l.args.r, 0.5f);
    numbers(l.twin.k, l.args.k, 0.5f);
    const std::vector<float> v = normals(n, 0.5f);
    l.twin.v = twins::inputs(v);
    l.v = upload(v);
    l.args.v = l.v.data();
    if (!first_layer) numbers(l.twin.v_first, l.args.v_first, 0.5f);

    // Second halves of the low-rank pairs, of ranks that fill no octets.
    const auto pair = [&](twins::Numbers& up, const float*& first, DeviceMatrix& second, int rank) {
      rank = storage.inputs_from(rank);
      const std::vector<float> x = normals(size_t(rows) * rank);
      first = keep(x);
      l.pairs.push_back(matrix(storage, D, rank));
      second = l.pairs.back().device;
      up = twins::product(l.pairs.back().twin, twins::inputs(x));
    };
    l.pairs.reserve(4);
    pair(l.twin.w_up, l.args.w1, l.args.w2, 20);
    pair(l.twin.a_up, l.args.a1, l.args.a2, 9);
    pair(l.twin.g_up, l.args.g1, l.args.g2, 40);
    if (!first_layer) pair(l.twin.v_up, l.args.v1, l.args.v2, 8);
    const auto vector = [&](std::vector<float>& twin, const float*& device, float scale,
                            float mean) {
      twin = normals(size_t(D), scale, mean);
      device = keep(twin);
    };
    vector(l.twin.w0, l.args.w0, 1.5f, -4);
    vector(l.twin.a0, l.args.a0, 0.5f, 0);
    vector(l.twin.v0, l.args.v0, 0.3f, 0.7f);
    vector(l.twin.k_k, l.args.k_k, 0.1f, 0.75f);
    vector(l.twin.k_a, l.args.k_a, 0.05f, 1);
    vector(l.twin.r_k, l.args.r_k, 0.1f, 0);
    l.twin.ln_x = norm(D, 64e-5);
    l.args.ln_x = device(l.twin.ln_x);
    l.z = normals(n);
    l.args.z = keep(l.z);
    l.y = poisoned(n);
    l.args.y = l.y.data();
    l.vectors = poisoned(n * 6);
    l.args.vectors = l.vectors.data();
    l.bonus = poisoned(size_t(rows) * heads);
    l.args.bonus = l.bonus.data();
    return l;
  }

  // What recur() works out by itself, as GEMMs would hand it over.
  void hand_over_products(Layer& l) {
    const auto up = [&](const twins::Numbers& numbers) -> const float* {
      std::vector<float> x;
      for (const twins::Number& number : numbers) x.push_back(float(number.value));
      return x.empty() ? nullptr : keep(x);
    };
    l.args.w_up = up(l.twin.w_up);
    l.args.a_up = up(l.twin.a_up);
    l.args.g_up = up(l.twin.g_up);
    l.args.v_up = up(l.twin.v_up);
  }

  int64_t state_floats() const {
    const auto [heads, N] = GetParam();
    return int64_t(heads) * N * (2 + N);
  }

  // Two layers of a state, so that an offset is one. `advance`: recur() or its like.
  template <class Advance>
  void expect_recurrence(const std::vector<int>& runs, bool first_layer, Storage storage,
                         bool with_products, Advance&& advance) {
    const auto [heads, N] = GetParam();
    const int D = heads * N;
    const int64_t offset = state_floats(), S_at = offset + 2 * D;
    const TestStep step = this->step(runs, 2 * state_floats());
    Layer l = layer(step, offset, first_layer, storage);
    if (with_products) hand_over_products(l);
    advance(l.args);

    std::vector<twins::Numbers> states;
    for (const std::vector<float>& S : step.part(S_at, D * N)) states.push_back(twins::inputs(S));
    const twins::Numbers y = twins::recur(l.twin, step.runs, states);
    const std::string what = std::to_string(step.rows()) + " rows";
    // Errors in S are carried on from token to token.
    expect_twin(l.y.read(), y, "y, " + what, 1e-3);
    for (size_t run = 0; run < step.runs.size(); ++run) {
      const std::vector<float> after = step.device_states[run].read();
      const std::vector<float>& before = step.states[run];
      expect_twin({after.begin() + S_at, after.end()}, states[run], "S, " + what, 1e-3);
      const auto row = l.z.begin() + int64_t(step.runs[run].first + step.runs[run].count - 1) * D;
      EXPECT_EQ(std::vector<float>(after.begin() + offset, after.begin() + offset + D),
                std::vector<float>(row, row + D))
          << "att_shift";
      EXPECT_EQ(std::vector<float>(after.begin() + offset + D, after.begin() + S_at),
                std::vector<float>(before.begin() + offset + D, before.begin() + S_at))
          << "ffn_shift";
      EXPECT_EQ(std::vector<float>(after.begin(), after.begin() + offset),
                std::vector<float>(before.begin(), before.begin() + offset))
          << "the other layer";
    }
  }
};

TEST_P(RecurKernel, FewRows) {
  const auto few = [&](const RecurArgs& args) { recur(stream_.handle(), args); };
  for (const bool first_layer : {true, false}) {
    expect_recurrence({1}, first_layer, {Format::f16}, false, few);
    expect_recurrence({3, 1, 5}, first_layer, {Format::f32}, false, few);
  }
}

TEST_P(RecurKernel, ManyRows) {
  const auto many = [&](const RecurArgs& args) { recur_many(stream_.handle(), args); };
  for (const bool first_layer : {true, false}) {
    // More tokens than are in shared memory together, and exactly as many.
    expect_recurrence({18, 1, 16}, first_layer, {Format::f16}, true, many);
    expect_recurrence({2}, first_layer, {Format::f16}, true, many);
  }
}

// A state may be fed by either.
TEST_P(RecurKernel, BothGiveTheSameBits) {
  const TestStep step = this->step({4, 1}, 2 * state_floats());
  Layer l = layer(step, 0, false, {Format::f16});
  hand_over_products(l);
  recur(stream_.handle(), l.args);
  const std::vector<float> y = l.y.read();
  std::vector<std::vector<float>> states;
  for (size_t run = 0; run < 2; ++run) {
    states.push_back(step.device_states[run].read());
    stream_.upload(step.device_states[run].data(), step.states[run].data(),
                   step.states[run].size() * sizeof(float));
  }
  recur_many(stream_.handle(), l.args);
  EXPECT_EQ(l.y.read(), y);
  for (size_t run = 0; run < 2; ++run) EXPECT_EQ(step.device_states[run].read(), states[run]);
}

INSTANTIATE_TEST_SUITE_P(Sizes, RecurKernel,
                         testing::Values(Heads{3, 16}, Heads{2, 32}, Heads{3, 64}, Heads{1, 128}),
                         [](const auto& info) { return "of_" + std::to_string(info.param.size); });

// A prompt: errors must not build up from token to token.
class RecurPrompt : public RecurKernel {};
TEST_P(RecurPrompt, OfManyTokens) {
  expect_recurrence({150}, false, {Format::f16}, true,
                    [&](const RecurArgs& args) { recur_many(stream_.handle(), args); });
}
INSTANTIATE_TEST_SUITE_P(Sizes, RecurPrompt, testing::Values(Heads{2, 64}),
                         [](const auto& info) { return "of_" + std::to_string(info.param.size); });

// Second halves of pairs in every format that a file may have them in.
class RecurStorage : public RecurKernel {};
TEST_P(RecurStorage, SecondHalvesInEveryFormat) {
  for (const Storage& storage : all_storages()) {
    expect_recurrence({2, 1}, false, storage, false,
                      [&](const RecurArgs& args) { recur(stream_.handle(), args); });
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, RecurStorage, testing::Values(Heads{2, 16}),
                         [](const auto& info) { return "of_" + std::to_string(info.param.size); });

}  // namespace
}  // namespace anser
