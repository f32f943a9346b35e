// The recurrence in chunks: against double precision, against the scan, and with itself. Through
// launchers and cuda/runtime.h only, so that it runs on a GPU, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "device_memory.h"

namespace anser::cuda {
namespace {

// RecurArgs::vectors
constexpr int kVectors = 6;
enum Vectors { kR, kW, kK, kMinusKk, kKkA, kV };

// The vectors of some tokens of one context, and S before the first. [token][heads][6][N]; [heads]
// [N][N].
struct Context {
  int N, heads;
  std::vector<float> vectors, S;

  int tokens() const { return int(vectors.size()) / (heads * kVectors * N); }
  float* vector(int token, int head, int which) {
    return vectors.data() + ((token * heads + head) * kVectors + which) * N;
  }
};

// What a step computes for one context: y of every token, and S after the last.
template <class Number>
struct Result {
  std::vector<Number> y, S;  // [token][heads][N], [heads][N][N]
};

constexpr float kFloor = 0.5452392f;  // e^(-e^(-1/2)), what w is above

// Normal numbers; w, a evenly distributed where trained models have them; kk of length 1.
Context random_context(int N, int tokens, uint64_t seed, int heads = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0, 1);
  Context made = {N, heads, std::vector<float>(size_t(tokens) * heads * kVectors * N),
                  std::vector<float>(size_t(heads) * N * N)};
  for (float& s : made.S) s = normal(engine) / 4;
  for (int t = 0; t < tokens; ++t) {
    for (int head = 0; head < heads; ++head) {
      float length = 0;
      for (int n = 0; n < N; ++n) {
        for (const int which : {kR, kK, kV, kMinusKk}) {
          made.vector(t, head, which)[n] = normal(engine) / (which == kK ? 4.0f : 1.0f);
        }
        made.vector(t, head, kW)[n] = kFloor + (1 - kFloor) * uniform(engine);
        length += std::pow(made.vector(t, head, kMinusKk)[n], 2.0f);
      }
      for (int n = 0; n < N; ++n) {
        made.vector(t, head, kMinusKk)[n] /= std::sqrt(length);
        made.vector(t, head, kKkA)[n] = -made.vector(t, head, kMinusKk)[n] * uniform(engine);
      }
    }
  }
  return made;
}

Context worst_decay(int N, int tokens) {
  Context made = random_context(N, tokens, 7);
  for (int t = 0; t < tokens; ++t) std::fill_n(made.vector(t, 0, kW), N, kFloor);
  return made;
}

// All tokens ask and answer with almost the same key, and forget next to nothing.
Context similar_keys(int N, int tokens) {
  Context made = random_context(N, tokens, 8);
  std::mt19937_64 engine(9);
  std::normal_distribution<float> normal;
  for (int t = 0; t < tokens; ++t) {
    std::vector<float> key(made.vector(0, 0, kMinusKk), made.vector(0, 0, kMinusKk) + N);
    float length = 0;
    for (float& x : key) length += std::pow(x += 1e-3f * normal(engine), 2.0f);
    for (int n = 0; n < N && t > 0; ++n) {
      made.vector(t, 0, kMinusKk)[n] = key[n] / std::sqrt(length);
      made.vector(t, 0, kKkA)[n] = -0.98f * made.vector(t, 0, kMinusKk)[n];
      made.vector(t, 0, kW)[n] = 0.9999f;
    }
  }
  return made;
}

Result<double> exact(Context context) {
  const int N = context.N, heads = context.heads;
  Result<double> result;
  result.S.assign(context.S.begin(), context.S.end());
  for (int t = 0; t < context.tokens(); ++t) {
    for (int head = 0; head < heads; ++head) {
      const auto at = [&](int which, int n) { return double(context.vector(t, head, which)[n]); };
      for (int i = 0; i < N; ++i) {
        double* row = &result.S[size_t(head * N + i) * N];
        double u = 0, y = 0;
        for (int j = 0; j < N; ++j) u += row[j] * at(kMinusKk, j);
        for (int j = 0; j < N; ++j) {
          row[j] = row[j] * at(kW, j) + u * at(kKkA, j) + at(kV, i) * at(kK, j);
          y += row[j] * at(kR, j);
        }
        result.y.push_back(y);
      }
    }
  }
  return result;
}

enum class Way { scan, chunks };

// A piece of a context, `position` tokens after its beginning.
struct Piece {
  Context context;
  int position = 0;
};

// Pieces of different contexts as runs of one step.
std::vector<Result<float>> compute(const std::vector<Piece>& pieces, Way way) {
  const int N = pieces[0].context.N, heads = pieces[0].context.heads, D = heads * N;
  Stream stream;
  std::vector<Buffer> states;
  std::vector<RowEntry> rows;
  std::vector<RunEntry> runs;
  std::vector<float> vectors;
  for (const auto& [context, position] : pieces) {
    std::vector<float> state(2 * D, 0.0f);
    state.insert(state.end(), context.S.begin(), context.S.end());
    states.push_back(on_device(stream, state));
    runs.push_back(
        {states.back().as<float>(), int(rows.size()), context.tokens(), position % kChunkTokens});
    rows.resize(rows.size() + size_t(context.tokens()), {0, int(runs.size()) - 1});
    vectors.insert(vectors.end(), context.vectors.begin(), context.vectors.end());
  }
  // What is not written stays NaN.
  const std::vector<float> unknown(rows.size() * D, std::nanf(""));
  const Buffer row_table = on_device(stream, rows), run_table = on_device(stream, runs),
               device_vectors = on_device(stream, vectors), y = on_device(stream, unknown),
               decays = on_device(stream, unknown),
               z = on_device(stream, std::vector<float>(rows.size() * D, 0.5f));
  RecurArgs args = {};
  args.step = {row_table.as<RowEntry>(), run_table.as<RunEntry>(), int(rows.size()),
               int(runs.size())};
  args.heads = heads;
  args.head_size = N;
  args.z = z.as<float>();
  args.y = y.as<float>();
  args.vectors = device_vectors.as<float>();
  args.decays = decays.as<float>();
  way == Way::chunks ? scan_chunks(stream.handle(), args) : scan(stream.handle(), args);

  const auto all_y = from_device<float>(stream, y);
  const auto left = from_device<float>(stream, device_vectors);
  std::vector<Result<float>> results;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto begin = all_y.begin() + runs[i].first * D;
    const auto state = from_device<float>(stream, states[i]);
    results.push_back({{begin, begin + runs[i].count * D}, {state.begin() + 2 * D, state.end()}});
    EXPECT_EQ(state[0], 0.5f) << "the shift";
    // v of all tokens is left for what follows.
    for (int row = runs[i].first * heads; row < (runs[i].first + runs[i].count) * heads; ++row) {
      const auto v = [&](const std::vector<float>& of) { return &of[(row * kVectors + kV) * N]; };
      EXPECT_TRUE(std::equal(v(left), v(left) + N, v(vectors)));
    }
  }
  return results;
}

Context part(Context whole, int begin, int end, const std::vector<float>& S) {
  const int per_token = whole.heads * kVectors * whole.N;
  whole.vectors = {whole.vectors.begin() + begin * per_token,
                   whole.vectors.begin() + end * per_token};
  whole.S = S;
  return whole;
}

// kernels/chunk.h: 9 2^-22 of what a sum adds up, of either sign, a few chunks of it. What is added
// up is more than the sum, by sqrt(N) for numbers of either sign, but so do errors cancel, by
// sqrt(N) again; what is left is 9 2^-22 of a result, of the largest one here. A product without
// its lo part would be off by 2^-12 and more.
double tolerance(const std::vector<double>& exact) {
  double most = 0;
  for (const double x : exact) most = std::max(most, std::fabs(x));
  return 9 * 0x1p-22 * most;
}

template <class A, class B>
double worst(const A& actual, const B& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double most = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double d = std::fabs(double(actual[i]) - double(expected[i]));
    if (!(d <= most)) most = d;
  }
  return most;
}

void expect_exact(const Context& context, const std::string& what, int position = 0) {
  SCOPED_TRACE(what);
  const Result<double> expected = exact(context);
  const Result<float> chunks = compute({{context, position}}, Way::chunks)[0];
  const Result<float> scan = compute({{context, position}}, Way::scan)[0];
  EXPECT_LE(worst(chunks.y, expected.y), tolerance(expected.y));
  EXPECT_LE(worst(chunks.S, expected.S), tolerance(expected.S));
  EXPECT_LE(worst(chunks.y, scan.y), tolerance(expected.y));
}

TEST(Chunks, EveryLengthIsExact) {
  for (int tokens = 1; tokens <= 70; ++tokens) {
    expect_exact(random_context(32, tokens, uint64_t(tokens)), std::to_string(tokens) + " tokens");
  }
}

TEST(Chunks, EveryHeadSize) {
  expect_exact(random_context(64, 53, 1, 2), "heads of 64", 11);
  expect_exact(random_context(128, 37, 2), "heads of 128", 3);
}

TEST(Chunks, HardCases) {
  expect_exact(worst_decay(64, 256), "all decays at the floor");
  expect_exact(similar_keys(64, 256), "similar keys");
  expect_exact(random_context(64, 512, 3), "many chunks");
}

TEST(Chunks, ZerosStayZero) {
  Context zeros = random_context(32, 40, 1);
  std::fill(zeros.S.begin(), zeros.S.end(), 0.0f);
  for (int t = 0; t < 40; ++t) {
    for (const int which : {kR, kK, kV, kMinusKk, kKkA})
      std::fill_n(zeros.vector(t, 0, which), 32, 0.0f);
  }
  const Result<float> result = compute({{zeros, 5}}, Way::chunks)[0];
  for (const float y : result.y) ASSERT_EQ(y, 0);
  for (const float s : result.S) ASSERT_EQ(s, 0);
}

TEST(Chunks, RunsOfAStepAreApart) {
  // Of different places in their chunks, without, with one and with several whole ones.
  const int positions[] = {0, 16, 5, 31, 40, 100, 7, 48},
            tokens[] = {1, 16, 10, 33, 64, 28, 24, 15};
  std::vector<Piece> pieces;
  for (int i = 0; i < 8; ++i) {
    pieces.push_back({random_context(32, tokens[i], uint64_t(i), 2), positions[i]});
  }
  const auto together = compute(pieces, Way::chunks);
  for (size_t i = 0; i < pieces.size(); ++i) {
    SCOPED_TRACE(i);
    const Result<float> alone = compute({pieces[i]}, Way::chunks)[0];
    EXPECT_EQ(together[i].y, alone.y);
    EXPECT_EQ(together[i].S, alone.S);
    const Result<double> expected = exact(pieces[i].context);
    EXPECT_LE(worst(alone.y, expected.y), tolerance(expected.y));
  }
}

TEST(Chunks, CutsAtWholeChunksChangeNoBit) {
  const int kTokens = 75;
  const Context whole = random_context(64, kTokens, 4);
  const Result<float> expected = compute({{whole, 0}}, Way::chunks)[0];
  const std::vector<std::vector<int>> ways = {{16}, {64}, {16, 32, 48, 64}, {48}, {16, 64}};
  for (const std::vector<int>& cuts : ways) {
    Result<float> result = {{}, whole.S};
    for (size_t i = 0; i <= cuts.size(); ++i) {
      const int begin = i == 0 ? 0 : cuts[i - 1], end = i == cuts.size() ? kTokens : cuts[i];
      const auto piece = compute({{part(whole, begin, end, result.S), begin}}, Way::chunks)[0];
      result.y.insert(result.y.end(), piece.y.begin(), piece.y.end());
      result.S = piece.S;
    }
    EXPECT_EQ(result.y, expected.y);
    EXPECT_EQ(result.S, expected.S);
  }
}

TEST(Chunks, WithoutAWholeChunkTheyAreTheScan) {
  const Piece piece = {random_context(64, 30, 5), 1};
  const auto chunks = compute({piece}, Way::chunks)[0], scan = compute({piece}, Way::scan)[0];
  EXPECT_EQ(chunks.y, scan.y);
  EXPECT_EQ(chunks.S, scan.S);
}

}  // namespace
}  // namespace anser::cuda
