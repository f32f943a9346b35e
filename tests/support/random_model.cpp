#include "support/random_model.h"

#include <cmath>
#include <stdexcept>

namespace support {
namespace {

// splitmix64: std's distributions differ between libraries.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double uniform() { return double(next() >> 11) * 0x1p-53; }
  // A sum of uniforms is normal enough, and needs no function that a library may round its own way.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }

 private:
  uint64_t state_;
};

// To 8 significant bits, and to zero below fp16's smallest normal number.
double round_to_8_bits(double x) {
  if (std::fabs(x) < 0x1p-14) return 0;
  int exponent;
  const double fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(fraction * 256), exponent - 8);
}

class Builder {
 public:
  Builder(RandomModel& model, uint64_t seed) : model_(model), random_(seed) {}

  void normal(const std::string& name, std::vector<int64_t> shape, double std, double mean = 0) {
    Tensor tensor{name, std::move(shape), {}};
    int64_t n = 1;
    for (const int64_t size : tensor.shape) n *= size;
    for (int64_t i = 0; i < n; ++i) {
      tensor.values.push_back(round_to_8_bits(mean + std * random_.normal()));
    }
    model_.tensors.push_back(std::move(tensor));
  }
  void uniform(const std::string& name, std::vector<int64_t> shape) {
    normal(name, std::move(shape), 0);
    for (double& x : model_.tensors.back().values) x = round_to_8_bits(random_.uniform());
  }

 private:
  RandomModel& model_;
  Random random_;
};

}  // namespace

bool Tensor::low_rank() const {
  if (name.find(".att.") == std::string::npos || shape.size() != 2) return false;
  const std::string last = name.substr(name.size() - 2);
  return std::string("wavg").find(last[0]) != std::string::npos &&
         (last[1] == '1' || last[1] == '2');
}

Tensor& RandomModel::operator[](const std::string& name) {
  for (Tensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::runtime_error("no tensor " + name);
}

reference::Model RandomModel::reference() const {
  reference::Model m;
  m.vocab = shape.vocab;
  m.width = shape.width;
  m.layers = shape.layers;
  m.head_size = shape.head_size;
  m.ffn = shape.ffn;
  for (const Tensor& tensor : tensors) m.tensors[tensor.name] = tensor.values;
  return m;
}

RandomModel random_model(const Shape& shape, uint64_t seed) {
  RandomModel model;
  model.shape = shape;
  Builder build(model, seed);
  const int D = shape.width, F = shape.ffn, N = shape.head_size;
  const auto norm = [&](const std::string& name, double mean = 1) {
    build.normal(name + ".weight", {D}, 0.05, mean);
    build.normal(name + ".bias", {D}, 0.02);
  };
  build.normal("emb.weight", {shape.vocab, D}, 0.3);
  norm("blocks.0.ln0");
  for (int l = 0; l < shape.layers; ++l) {
    const std::string block = "blocks." + std::to_string(l) + ".", att = block + "att.";
    norm(block + "ln1");
    norm(block + "ln2");
    for (const char c : {'r', 'w', 'k', 'v', 'a', 'g'}) {
      build.uniform(att + "x_" + c, {1, 1, D});
    }
    const auto pair = [&](char c, int rank, double scale) {
      build.normal(att + c + "1", {D, rank}, scale / std::sqrt(D));
      build.normal(att + c + "2", {rank, D}, scale / std::sqrt(rank));
    };
    build.normal(att + "w0", {1, 1, D}, 1.5, -4);
    pair('w', shape.rank_w, 0.5);
    build.normal(att + "a0", {1, 1, D}, 0.5);
    pair('a', shape.rank_a, 0.7);
    if (l > 0) {
      build.normal(att + "v0", {1, 1, D}, 0.3, 0.7);
      pair('v', shape.rank_v, 0.7);
    }
    pair('g', shape.rank_g, 1);
    build.normal(att + "k_k", {1, 1, D}, 0.1, 0.75);
    build.normal(att + "k_a", {1, 1, D}, 0.05, 1);
    build.normal(att + "r_k", {D / N, N}, 0.1);
    build.normal(att + "receptance.weight", {D, D}, 0.5 / std::sqrt(D));
    build.normal(att + "key.weight", {D, D}, 0.3 / std::sqrt(D));
    build.normal(att + "value.weight", {D, D}, 0.5 / std::sqrt(D));
    build.normal(att + "output.weight", {D, D}, 0.5 / std::sqrt(D));
    norm(att + "ln_x", std::pow((1.0 + l) / shape.layers, 0.7));
    build.uniform(block + "ffn.x_k", {1, 1, D});
    build.normal(block + "ffn.key.weight", {F, D}, 0.5 / std::sqrt(D));
    build.normal(block + "ffn.value.weight", {D, F}, 0.7 / std::sqrt(F));
  }
  norm("ln_out");
  build.normal("head.weight", {shape.vocab, D}, 1 / std::sqrt(D));
  return model;
}

std::vector<int> random_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  std::vector<int> tokens(count);
  for (int& token : tokens) token = int(random.next() % vocab);
  return tokens;
}

}  // namespace support
