// The distributions are those of tools/make_random_model.py, which says where they come from. What
// differs is how numbers are drawn: 7 billion of them one by one take minutes. All matrices whose
// numbers are distributed alike copy their lines out of one pool of a million numbers in the type
// that they are stored in, every line from another place of it.
#include "model/random_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>

#include "anser/error.h"
#include "base/huge_block.h"
#include "base/splitmix64.h"
#include "base/thread_pool.h"
#include "model/quantize.h"
#include "model/quantize_mix.h"

namespace anser {
namespace {

struct Shape {
  const char* name;
  int layers, width, rank_w, rank_a, rank_v, rank_g;
};
// As released: no formula gives the ranks of all of them.
constexpr Shape kShapes[] = {
    {"0.1B", 12, 768, 64, 64, 32, 128},    {"0.4B", 24, 1024, 64, 64, 32, 128},
    {"1.5B", 24, 2048, 96, 96, 64, 256},   {"2.9B", 32, 2560, 96, 96, 64, 320},
    {"7.2B", 32, 4096, 128, 128, 96, 480},
};
constexpr int kVocab = 65536, kHead = 64;

constexpr int64_t kPool = 1 << 20;  // places where a line may begin, in numbers: 2 MB in f16

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() { return splitmix64(state_); }
  double uniform() { return double(next() >> 11) * 0x1p-53; }
  double normal() {  // Box and Muller
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  uint64_t state_;
};

// FNV-1a: std::hash differs between libraries.
uint64_t hash_of(const std::string& name) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : name) hash = (hash ^ uint8_t(c)) * 1099511628211u;
  return hash;
}

// --- statistics of a standard normal number

double share_below(double x) {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}
double density(double x) {
  return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
}
// m such that a share `zeros` is below.
double threshold(double zeros) {
  double low = -10, high = 10;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2;
    (share_below(middle) < zeros ? low : high) = middle;
  }
  return low;
}
// E[max(g - m, 0)^4]
double fourth_moment_above(double m) {
  return (m * m * m * m + 6 * m * m + 3) * share_below(-m) - (m * m * m + 5 * m) * density(m);
}

// --- what the tensors are

constexpr double kLn2Bias = 0.25;   // mean of the bias that carries the pre-activations' mean
constexpr double kKeyScale = 0.5;   // of ffn.key, times 1 / sqrt(width)
constexpr double kFfnOutput = 0.3;  // deviation of what a channel mix adds

struct PoolKey {
  DType type;
  double scale, offset;  // numbers are scale g + offset
  auto operator<=>(const PoolKey&) const = default;
};

struct Plan {
  std::string name;
  std::vector<int64_t> shape;
  PoolKey pool;                // of a matrix
  std::vector<float> numbers;  // of a vector
  size_t at = 0;               // in memory

  bool matrix() const { return numbers.empty(); }
  int64_t lines() const { return matrix() ? shape[0] : 1; }
  int64_t line_numbers() const { return matrix() ? shape[1] : int64_t(numbers.size()); }
  size_t line_bytes() const { return dtype_bytes(pool.type, size_t(line_numbers())); }
  size_t bytes() const { return size_t(lines()) * line_bytes(); }
};

class Planner {
 public:
  Planner(const Shape& shape, DType type, double zeros)
      : shape_(shape), D_(shape.width), type_(type), zeros_(zeros) {}

  std::vector<Plan> all() {
    normal("emb.weight", {kVocab, D_}, 0.3);
    norm("blocks.0.ln0");
    for (int layer = 0; layer < shape_.layers; ++layer) this->layer(layer);
    norm("ln_out");
    normal("head.weight", {kVocab, D_}, 1 / std::sqrt(D_));
    return std::move(plans_);
  }

 private:
  void layer(int layer) {
    const std::string block = fmt::format("blocks.{}.", layer), att = block + "att.";
    const int F = 4 * D_;
    norm(block + "ln1");
    const std::vector<float> weight = vector(block + "ln2.weight", D_, 0.05, 1);
    const std::vector<float> bias = vector(block + "ln2.bias", D_, 0.02, kLn2Bias);
    for (const char c : {'r', 'w', 'k', 'v', 'a', 'g'}) uniform(att + "x_" + c);
    // Slow to fast decay over the channels, as models are initialised.
    std::vector<float> w0 = draw(att + "w0", D_, 0.3, 0);
    const double bend = 1 + double(layer) / shape_.layers;
    for (int c = 0; c < D_; ++c) w0[size_t(c)] += -6 + 5 * std::pow(c / (D_ - 1.0), bend);
    store(att + "w0", {D_}, std::move(w0));
    low_rank(att, 'w', shape_.rank_w, 0.5);
    vector(att + "a0", D_, 0.5, 0);
    low_rank(att, 'a', shape_.rank_a, 0.5);
    if (layer > 0) {
      vector(att + "v0", D_, 0.3, 0.5);
      low_rank(att, 'v', shape_.rank_v, 0.5);
    }
    low_rank(att, 'g', shape_.rank_g, 1);
    vector(att + "k_k", D_, 0.1, 0.7);
    vector(att + "k_a", D_, 0.05, 1);
    store(att + "r_k", {D_ / kHead, kHead}, draw(att + "r_k", D_, 0.1, 0));
    const double root = 1 / std::sqrt(D_);
    normal(att + "receptance.weight", {D_, D_}, 0.5 * root);
    normal(att + "key.weight", {D_, D_}, 0.3 * root);
    normal(att + "value.weight", {D_, D_}, 0.5 * root);
    normal(att + "output.weight", {D_, D_}, 0.5 * root);
    vector(att + "ln_x.weight", D_, 0.05, std::pow((1.0 + layer) / shape_.layers, 0.7));
    vector(att + "ln_x.bias", D_, 0.02, 0);
    const std::vector<float> x_k = uniform(block + "ffn.x_k");
    normal(block + "ffn.key.weight", {F, D_}, kKeyScale * root, key_mean(weight, bias, x_k, layer));
    const double hidden = kKeyScale * kKeyScale * std::sqrt(fourth_moment_above(threshold(zeros_)));
    normal(block + "ffn.value.weight", {D_, F}, kFfnOutput / hidden / std::sqrt(F));
  }

  // The mean of ffn.key's entries that makes a share `zeros` of h zero: the product with ln2's bias
  // moves every pre-activation down by as many of its deviations. make_random_model.py derives it
  // for tokens that are independent of each other; the deeper the layer, the more neighbours have
  // in common, and the more their mix varies. The correlation is fitted to the zeros that models
  // of this kind had without it.
  double key_mean(const std::vector<float>& weight, const std::vector<float>& bias,
                  const std::vector<float>& x_k, int layer) const {
    const double correlation = 0.4 * (1 - std::exp(-layer / 8.0));
    double power = 0, sum = 0;
    for (size_t c = 0; c < weight.size(); ++c) {
      const double x = x_k[c];
      const double mixed = (1 - x) * (1 - x) + x * x + 2 * x * (1 - x) * correlation;
      power += weight[c] * weight[c] * mixed + bias[c] * bias[c];
      sum += bias[c];
    }
    return -threshold(zeros_) * kKeyScale / std::sqrt(D_) * std::sqrt(power) / sum;
  }

  std::vector<float> draw(const std::string& name, int n, double scale, double mean) const {
    Random random(hash_of(name));
    std::vector<float> x(static_cast<size_t>(n));
    for (float& v : x) v = float(mean + scale * random.normal());
    return x;
  }
  std::vector<float> store(const std::string& name, std::vector<int64_t> shape,
                           std::vector<float> x) {
    plans_.push_back({name, std::move(shape), {DType::f32, 0, 0}, x});
    return x;
  }
  std::vector<float> vector(const std::string& name, int n, double scale, double mean) {
    return store(name, {n}, draw(name, n, scale, mean));
  }
  std::vector<float> uniform(const std::string& name) {
    Random random(hash_of(name));
    std::vector<float> x(static_cast<size_t>(D_));
    for (float& v : x) v = float(random.uniform());
    return store(name, {D_}, std::move(x));
  }
  void norm(const std::string& name) {
    vector(name + ".weight", D_, 0.05, 1);
    vector(name + ".bias", D_, 0.02, 0);
  }
  void normal(const std::string& name, std::vector<int64_t> shape, double scale,
              double offset = 0) {
    const DType type = matrix_type(name, int(shape[1]), type_);
    plans_.push_back({name, std::move(shape), {type, scale, offset}, {}});
  }
  void low_rank(const std::string& att, char letter, int rank, double scale) {
    normal(att + letter + "1", {D_, rank}, scale / std::sqrt(D_));
    normal(att + letter + "2", {rank, D_}, scale / std::sqrt(rank));
  }

  const Shape& shape_;
  const int D_;
  const DType type_;
  const double zeros_;
  std::vector<Plan> plans_;
};

// --- how they are made

using Pools = std::map<PoolKey, std::vector<std::byte>>;

Pools make_pools(const std::vector<Plan>& plans, ThreadPool& workers) {
  int64_t longest = 0;
  for (const Plan& plan : plans) longest = std::max(longest, plan.line_numbers());
  std::vector<float> normals(size_t(kPool + longest));
  constexpr int64_t kPart = 4096;  // with a seed of its own, so that cores do not matter
  const int64_t parts = (int64_t(normals.size()) + kPart - 1) / kPart;
  workers.run([&](int worker) {
    const Part own = part_of(parts, worker, workers.size());
    for (int64_t part = own.begin; part < own.end; ++part) {
      Random random(uint64_t(part) + 1);
      const int64_t end = std::min<int64_t>((part + 1) * kPart, int64_t(normals.size()));
      for (int64_t i = part * kPart; i < end; ++i) normals[size_t(i)] = float(random.normal());
    }
  });

  Pools pools;
  for (const Plan& plan : plans) {
    if (plan.matrix()) pools[plan.pool].resize(dtype_bytes(plan.pool.type, normals.size()));
  }
  for (auto& [key, bytes] : pools) {
    const int64_t blocks = int64_t(normals.size()) / 256;
    workers.run([&, &key = key, &bytes = bytes](int worker) {
      const Part own = part_of(blocks, worker, workers.size());
      float x[256];
      for (int64_t block = own.begin; block < own.end; ++block) {
        for (int i = 0; i < 256; ++i) {
          x[i] = float(key.scale * normals[size_t(256 * block + i)] + key.offset);
        }
        quantize_row(key.type, x, 256, bytes.data() + dtype_bytes(key.type, size_t(256 * block)));
      }
    });
  }
  return pools;
}

// Lines begin to end.
void fill(const Plan& plan, const Pools& pools, std::byte* to, Part lines) {
  if (!plan.matrix()) {
    if (lines.begin < lines.end) std::memcpy(to, plan.numbers.data(), plan.bytes());
    return;
  }
  const std::byte* pool = pools.at(plan.pool).data();
  const size_t line_bytes = plan.line_bytes();
  const int64_t block = block_elements(plan.pool.type);
  for (int64_t line = lines.begin; line < lines.end; ++line) {
    Random place(hash_of(plan.name) ^ uint64_t(line));
    const size_t at = place.next() % uint64_t(kPool / block) * size_t(block);
    std::memcpy(to + size_t(line) * line_bytes, pool + dtype_bytes(plan.pool.type, at), line_bytes);
  }
}

const Shape& shape_named(const std::string& name) {
  std::string all;
  for (const Shape& shape : kShapes) {
    if (name == shape.name) return shape;
    all += std::string(all.empty() ? "" : ", ") + shape.name;
  }
  throw Error(fmt::format("no RWKV-7 of size {} was released: expected one of {}", name, all));
}

DType type_named(std::string name) {
  std::string all;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return char(std::toupper(c)); });
  for (int type = 0; type < kMatrixTypes; ++type) {
    if (!can_quantize_to(DType(type))) continue;
    if (name == dtype_name(DType(type))) return DType(type);
    all += std::string(all.empty() ? "" : ", ") + dtype_name(DType(type));
  }
  throw Error(fmt::format("no weights can be made in {}: expected one of {}", name, all));
}

}  // namespace

TensorFile random_weights(const RandomWeights& options) {
  const Shape& shape = shape_named(options.size);
  const DType type = type_named(options.type);
  if (!(options.zeros > 0 && options.zeros < 1)) {
    throw Error(fmt::format("zeros: expected a share between 0 and 1, found {}", options.zeros));
  }
  std::vector<Plan> plans = Planner(shape, type, options.zeros).all();
  size_t total = 0;
  for (Plan& plan : plans) {
    plan.at = total;
    total += (plan.bytes() + 63) / 64 * 64;
  }

  ThreadPool workers(usable_cores());
  const Pools pools = make_pools(plans, workers);
  const auto memory = std::make_shared<HugeBlock>(total);
  workers.run([&](int worker) {
    for (const Plan& plan : plans) {
      fill(plan, pools, memory->data() + plan.at,
           part_of(plan.lines(), worker, workers.size(), plan.matrix() ? 1 : plan.lines()));
    }
  });

  TensorFile file;
  file.path = fmt::format("random weights of the size {}", shape.name);
  file.format = FileFormat::memory;
  for (const Plan& plan : plans) {
    FileTensor tensor = {plan.name,
                         plan.pool.type,
                         plan.shape,
                         plan.shape,
                         {memory->data() + plan.at, plan.bytes()}};
    int64_t stride = 1;
    for (size_t i = plan.shape.size(); i-- > 0; stride *= plan.shape[i]) tensor.strides[i] = stride;
    file.tensors.push_back(std::move(tensor));
  }
  file.memory = memory;
  return file;
}

}  // namespace anser
