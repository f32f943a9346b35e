// Speed of the kernels, one thread, every table that this machine can run.
//
//   kernels_bench --benchmark_filter='avx512/matmul/.*/rows:1$'
//
// matmul reports GB/s of weights read, the measure when rows are few, and GFLOP/s, the measure when
// they are many. The matrices of one benchmark are used in turn and take kFootprint bytes together,
// so that weights come from where a model's would: past the level 2 cache. (On a machine whose
// level 3 cache is larger still, GB/s is that of the level 3 cache.)
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/packed.h"

namespace anser {
namespace {

constexpr size_t kFootprint = size_t{256} << 20;

// Random bytes that are well-behaved numbers in every type: with 0x38 to 0x3f as the upper byte a
// half lies in 0.5 to 2, an fp32 or bf16 in 3e-5 to 1, and nothing is subnormal.
std::vector<std::byte> random_weights(size_t bytes) {
  std::vector<std::byte> weights(bytes);
  uint64_t state = 1;
  for (std::byte& b : weights) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    b = std::byte(0x38 | state >> 61);
  }
  return weights;
}

std::vector<float> random_floats(size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

void matmul(benchmark::State& state, const Kernels& kernels, DType type, int cols, int outputs,
            int rows) {
  Matrix matrix;
  matrix.type = type;
  matrix.rows = outputs;
  matrix.cols = cols;
  const size_t matrix_bytes = packed_bytes(matrix);
  const size_t matrices = std::max<size_t>(1, kFootprint / matrix_bytes);
  // Made once: the making takes longer than a measurement. Any bytes will do for a packed matrix.
  static std::vector<std::byte> weights;
  if (weights.empty()) weights = random_weights(kFootprint);
  if (weights.size() < matrices * matrix_bytes) return state.SkipWithError("matrix too large");
  const std::vector<float> x = random_floats(size_t(rows) * cols);
  std::vector<float> y(size_t(rows) * outputs), d(x.size() / 32 + 1);
  std::vector<std::byte> q(x.size() * kernels.activation_bytes);
  std::vector<int32_t> sums(x.size() / 16 + 1);
  if (block_elements(type) > 1) {
    kernels.quantise(x.data(), int(x.size()), q.data(), d.data(), sums.data());
  }
  MatmulArgs args = {.weights = weights.data(),
                     .inputs = cols,
                     .outputs = outputs,
                     .begin = 0,
                     .end = outputs,
                     .x = x.data(),
                     .quantised = {q.data(), d.data(), sums.data()},
                     .y = y.data(),
                     .rows = rows,
                     .bias = nullptr,
                     .epilogue = Epilogue::store};
  size_t next = 0;
  for (auto _ : state) {
    args.weights = weights.data() + next * matrix_bytes;
    next = (next + 1) % matrices;
    kernels.matmul[int(type)](args);
    benchmark::ClobberMemory();
  }
  using Counter = benchmark::Counter;
  const double runs = double(state.iterations());
  state.counters["GB/s"] = Counter(runs * matrix_bytes * 1e-9, Counter::kIsRate);
  state.counters["GFLOP/s"] = Counter(runs * 2e-9 * cols * outputs * rows, Counter::kIsRate);
}

void recur(benchmark::State& state, const Kernels& kernels, int size, int tokens) {
  const std::vector<float> x = random_floats(size_t(tokens) * size);
  std::vector<float> gate(x.size(), 0.5f), decay(x.size(), 0.9f), out(x.size());
  std::vector<float> s(size_t(size) * size);
  RecurArgs args = {};
  args.head_size = size;
  args.tokens = tokens;
  args.stride = size;
  args.r = args.k = args.v = args.v_first = args.g = x.data();
  args.w = decay.data();
  args.a = args.nu = gate.data();
  args.k_k = args.k_a = args.r_k = args.ln_weight = args.ln_bias = gate.data();
  args.ln_eps = 64e-5f;
  args.state = s.data();
  args.out = out.data();
  for (auto _ : state) {
    kernels.recur(args);
    benchmark::ClobberMemory();
  }
  state.counters["tokens/s"] =
      benchmark::Counter(double(state.iterations()) * tokens, benchmark::Counter::kIsRate);
}

// Reads and does next to nothing: the bandwidth that a kernel could have.
void read_memory(benchmark::State& state, const Kernels& kernels) {
  const std::vector<float> x(kFootprint / sizeof(float), 1.0f);
  for (auto _ : state) benchmark::DoNotOptimize(kernels.all_finite(x.data(), int64_t(x.size())));
  state.counters["GB/s"] = benchmark::Counter(double(state.iterations()) * kFootprint * 1e-9,
                                              benchmark::Counter::kIsRate);
}

void layer_norm(benchmark::State& state, const Kernels& kernels, int n) {
  const std::vector<float> x = random_floats(n);
  std::vector<float> y(n);
  for (auto _ : state) {
    kernels.layer_norm(x.data(), x.data(), x.data(), 1e-5f, n, y.data());
    benchmark::ClobberMemory();
  }
}

void apply(benchmark::State& state, const Kernels& kernels, Epilogue epilogue, int n) {
  const std::vector<float> x = random_floats(n);
  std::vector<float> y = x;
  for (auto _ : state) {
    std::memcpy(y.data(), x.data(), y.size() * 4);  // else the functions converge to fixed points
    kernels.apply(epilogue, nullptr, n, y.data());
    benchmark::ClobberMemory();
  }
}

void add_benchmarks() {
  for (const Kernels* table : supported_kernels()) {
    const Kernels& kernels = *table;
    for (int type = 0; type < kMatrixTypes; ++type) {
      for (int rows : {1, 2, 4, 8, 16, 64, 256}) {
        const std::string name = fmt::format("{}/matmul/{}/1024x4096/rows:{}", kernels.name,
                                             dtype_name(DType(type)), rows);
        benchmark::RegisterBenchmark(name.c_str(), [&kernels, type, rows](benchmark::State& s) {
          matmul(s, kernels, DType(type), 1024, 4096, rows);
        });
      }
    }
    benchmark::RegisterBenchmark(fmt::format("{}/read", kernels.name).c_str(),
                                 [&kernels](benchmark::State& s) { read_memory(s, kernels); });
    for (int tokens : {1, 64}) {
      benchmark::RegisterBenchmark(
          fmt::format("{}/recur/64/tokens:{}", kernels.name, tokens).c_str(),
          [&kernels, tokens](benchmark::State& s) { recur(s, kernels, 64, tokens); });
    }
    benchmark::RegisterBenchmark(fmt::format("{}/layer_norm/1024", kernels.name).c_str(),
                                 [&kernels](benchmark::State& s) { layer_norm(s, kernels, 1024); });
    for (auto [name, epilogue] :
         {std::pair{"tanh", Epilogue::tanh}, std::pair{"sigmoid", Epilogue::sigmoid},
          std::pair{"decay", Epilogue::decay}}) {
      benchmark::RegisterBenchmark(fmt::format("{}/{}/1024", kernels.name, name).c_str(),
                                   [&kernels, epilogue = epilogue](benchmark::State& s) {
                                     apply(s, kernels, epilogue, 1024);
                                   });
    }
  }
}

}  // namespace
}  // namespace anser

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  anser::add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
}
