#include "reference/rwkv7_reference.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace reference {
namespace {

double sigmoid(double z) {
  return 1 / (1 + std::exp(-z));
}

// y = W x, W [outputs][inputs].
Vec times(const Vec& W, const Vec& x) {
  const size_t inputs = x.size(), outputs = W.size() / inputs;
  Vec y(outputs, 0.0);
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t i = 0; i < inputs; ++i) y[o] += W[o * inputs + i] * x[i];
  }
  return y;
}

// y = x M, M [inputs][outputs].
Vec times_low_rank(const Vec& x, const Vec& M) {
  const size_t inputs = x.size(), outputs = M.size() / inputs;
  Vec y(outputs, 0.0);
  for (size_t i = 0; i < inputs; ++i) {
    for (size_t o = 0; o < outputs; ++o) y[o] += x[i] * M[i * outputs + o];
  }
  return y;
}

template <class F>
Vec map(Vec x, F f) {
  for (double& e : x) e = f(e);
  return x;
}

// (x - mean) / sqrt(biased variance + eps) of elements [begin, begin + n), weight and bias
// likewise.
void normalise(Vec& x, size_t begin, size_t n, const Vec& weight, const Vec& bias, double eps) {
  double mean = 0, variance = 0;
  for (size_t i = begin; i < begin + n; ++i) mean += x[i] / double(n);
  for (size_t i = begin; i < begin + n; ++i) variance += (x[i] - mean) * (x[i] - mean) / double(n);
  for (size_t i = begin; i < begin + n; ++i) {
    x[i] = (x[i] - mean) / std::sqrt(variance + eps) * weight[i] + bias[i];
  }
}

// One token's way through one model.
class Step {
 public:
  Step(const Model& model, State& state, Trace* trace)
      : m_(model), state_(state), trace_(trace), D_(size_t(model.width)) {}

  Vec logits(int token) {
    const Vec& E = m_.at("emb.weight");
    Vec x(E.begin() + token * D_, E.begin() + (token + 1) * D_);
    x = layer_norm(x, "blocks.0.ln0");
    record("embed.x", x);
    for (int l = 0; l < m_.layers; ++l) {
      const std::string number = std::to_string(l), block = "blocks." + number + ".";
      add(x, time_mix(l, layer_norm(x, block + "ln1")));
      record(number + ".output.x", x);
      add(x, channel_mix(l, layer_norm(x, block + "ln2")));
      record(number + ".contract.x", x);
    }
    return times(m_.at("head.weight"), layer_norm(x, "ln_out"));
  }

 private:
  void record(const std::string& name, const Vec& value) {
    if (trace_ != nullptr) (*trace_)[name] = value;
  }

  static void add(Vec& x, const Vec& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Vec layer_norm(Vec x, const std::string& name) const {
    normalise(x, 0, D_, m_.at(name + ".weight"), m_.at(name + ".bias"), m_.norm_eps);
    return x;
  }

  // z + (previous - z) * mu
  Vec mixed(const Vec& z, const Vec& previous, const std::string& mu_name) const {
    const Vec& mu = m_.at(mu_name);
    Vec y(D_);
    for (size_t i = 0; i < D_; ++i) y[i] = z[i] + (previous[i] - z[i]) * mu[i];
    return y;
  }

  Vec time_mix(int l, const Vec& z) {
    const std::string number = std::to_string(l), att = "blocks." + number + ".att.";
    const auto tensor = [&](const char* name) -> const Vec& { return m_.at(att + name); };
    Vec& previous = state_.att_shift[size_t(l)];

    const Vec z_r = mixed(z, previous, att + "x_r");
    const Vec z_w = mixed(z, previous, att + "x_w");
    const Vec z_k = mixed(z, previous, att + "x_k");
    const Vec z_v = mixed(z, previous, att + "x_v");
    const Vec z_a = mixed(z, previous, att + "x_a");
    const Vec z_g = mixed(z, previous, att + "x_g");
    previous = z;

    const Vec r = times(tensor("receptance.weight"), z_r);
    const Vec k = times(tensor("key.weight"), z_k);
    Vec v = times(tensor("value.weight"), z_v);

    const auto tanh = [](double e) { return std::tanh(e); };
    Vec w = times_low_rank(map(times_low_rank(z_w, tensor("w1")), tanh), tensor("w2"));
    add(w, tensor("w0"));
    w = map(w, [](double e) { return std::exp(-std::exp(-0.5) * sigmoid(e)); });

    Vec a = times_low_rank(times_low_rank(z_a, tensor("a1")), tensor("a2"));
    add(a, tensor("a0"));
    a = map(a, sigmoid);

    const Vec g = times_low_rank(map(times_low_rank(z_g, tensor("g1")), sigmoid), tensor("g2"));

    record(number + ".project.r", r);
    record(number + ".recur.w", w);
    record(number + ".project.k", k);
    record(number + ".project.v", v);
    record(number + ".recur.a", a);
    record(number + ".recur.g", g);

    if (l == 0) {
      v_first_ = v;
    } else {
      Vec nu = times_low_rank(times_low_rank(z_v, tensor("v1")), tensor("v2"));
      add(nu, tensor("v0"));
      for (size_t i = 0; i < D_; ++i) v[i] += (v_first_[i] - v[i]) * sigmoid(nu[i]);
    }

    Vec y(D_);
    for (int h = 0; h < m_.heads(); ++h) head(l, h, r, w, k, v, a, y);
    for (size_t i = 0; i < D_; ++i) y[i] *= g[i];
    record(number + ".recur.y", y);
    return times(tensor("output.weight"), y);
  }

  // Steps 7 to 11: one head from its vectors to y, before the gate.
  void head(int l, int h, const Vec& r, const Vec& w, const Vec& k, const Vec& v, const Vec& a,
            Vec& y) {
    const std::string att = "blocks." + std::to_string(l) + ".att.";
    const Vec &k_k = m_.at(att + "k_k"), &k_a = m_.at(att + "k_a"), &r_k = m_.at(att + "r_k");
    const size_t N = size_t(m_.head_size), begin = size_t(h) * N;
    double* S = state_.wkv[size_t(l)].data() + begin * N;  // [i][j]

    Vec removal(N), replacement(N);
    double length = 0, bonus = 0;
    for (size_t j = 0; j < N; ++j) {
      const size_t c = begin + j;
      removal[j] = k[c] * k_k[c];
      length += removal[j] * removal[j];
      replacement[j] = k[c] * (1 + (a[c] - 1) * k_a[c]);
      bonus += r[c] * replacement[j] * r_k[c];
    }
    length = std::max(std::sqrt(length), 1e-12);
    for (double& e : removal) e /= length;

    for (size_t i = 0; i < N; ++i) {
      double u = 0, read = 0;
      for (size_t j = 0; j < N; ++j) u -= S[i * N + j] * removal[j];
      for (size_t j = 0; j < N; ++j) {
        const size_t c = begin + j;
        S[i * N + j] = S[i * N + j] * w[c] + u * removal[j] * a[c] + v[begin + i] * replacement[j];
        read += S[i * N + j] * r[c];
      }
      y[begin + i] = read;
    }
    normalise(y, begin, N, m_.at(att + "ln_x.weight"), m_.at(att + "ln_x.bias"), m_.group_norm_eps);
    for (size_t i = begin; i < begin + N; ++i) y[i] += bonus * v[i];
  }

  Vec channel_mix(int l, const Vec& z) {
    const std::string number = std::to_string(l), ffn = "blocks." + number + ".ffn.";
    Vec& previous = state_.ffn_shift[size_t(l)];
    const Vec z_k = mixed(z, previous, ffn + "x_k");
    previous = z;
    const Vec h =
        map(times(m_.at(ffn + "key.weight"), z_k), [](double e) { return e > 0 ? e * e : 0.0; });
    record(number + ".expand.h", h);
    return times(m_.at(ffn + "value.weight"), h);
  }

  const Model& m_;
  State& state_;
  Trace* trace_;
  const size_t D_;
  Vec v_first_;  // layer 0's v of this token
};

}  // namespace

const Vec& Model::at(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::out_of_range("reference model: no tensor " + name);
  return found->second;
}

State::State(const Model& model) {
  const size_t D = size_t(model.width), N = size_t(model.head_size);
  for (int l = 0; l < model.layers; ++l) {
    att_shift.emplace_back(D, 0.0);
    ffn_shift.emplace_back(D, 0.0);
    wkv.emplace_back(D * N, 0.0);
    const auto tuned = model.tensors.find("blocks." + std::to_string(l) + ".att.time_state");
    if (tuned != model.tensors.end()) wkv.back() = tuned->second;
  }
}

Vec step(const Model& model, State& state, int token, Trace* trace) {
  if (token < 0 || token >= model.vocab) throw std::out_of_range("reference model: token");
  return Step(model, state, trace).logits(token);
}

std::vector<Vec> run(const Model& model, State& state, const std::vector<int>& tokens) {
  std::vector<Vec> logits;
  for (const int token : tokens) logits.push_back(step(model, state, token));
  return logits;
}

}  // namespace reference
