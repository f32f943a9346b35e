// The weights of an RWKV-7, named as in the original checkpoints.
//
// Matrices are views of the mapped file in the type they have there; vectors are small and are
// widened to fp32 when the model is opened.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "anser/model.h"
#include "base/dtype.h"
#include "base/mapped_file.h"

namespace anser {

// y = W x with W [rows = outputs][cols = inputs].
struct Matrix {
  const std::byte* data = nullptr;
  DType type = DType::f32;
  int rows = 0, cols = 0;
  // Stored the other way round, [cols][rows], as the low-rank matrices of the original files are.
  // Backends copy such a matrix; only plain types are ever stored so.
  bool transposed = false;
  std::string name;  // in the file; for error messages
  // In the file; another than `type` where the matrix was repacked when it was loaded.
  DType file_type = DType::f32;

  bool empty() const { return data == nullptr; }
  size_t row_bytes() const { return dtype_bytes(type, size_t(cols)); }
  size_t bytes() const { return dtype_bytes(type, size_t(rows) * cols); }
};

using Vector = std::vector<float>;

struct Norm {
  Vector weight, bias;  // [D]
};

struct TimeMix {
  Vector x_r, x_w, x_k, x_v, x_a, x_g;    // [D] token shift: x + (previous - x) * x_c
  Matrix receptance, key, value, output;  // [D][D]
  Vector w0, a0, v0;                      // [D]
  Matrix w1, a1, v1, g1;                  // [rank][D]
  Matrix w2, a2, v2, g2;                  // [D][rank]
  Vector k_k, k_a, r_k;                   // [D]; r_k is [H][N]
  Norm ln_x;                              // per head
};

struct ChannelMix {
  Vector x_k;    // [D]
  Matrix key;    // [F][D]
  Matrix value;  // [D][F]
};

struct Layer {
  Norm ln1, ln2;
  TimeMix att;
  ChannelMix ffn;
};

struct Weights {
  Matrix emb;  // [V][D]; one row is one token
  Norm ln0;    // normalises embedding rows as they are fetched; empty without embedding_norm
  std::vector<Layer> layers;
  Norm ln_out;
  Matrix head;                                           // [V][D]
  std::vector<std::shared_ptr<const MappedFile>> files;  // what the matrices are views of
};

// The one list of all tensors, for loading, saving and uploading. Calls, in checkpoint order,
//   visit.matrix(name, Matrix&, rows, cols)
//   visit.low_rank(name, Matrix&, rows, cols)   the original files store it as [cols][rows]
//   visit.vector(name, Vector&, size)
// Layer 0 has no value residual: its v0, v1, v2 are not part of the list.
template <class W, class Visitor>
void visit_weights(W& weights, const Hyperparameters& h, Visitor&& visit) {
  const int D = h.width;
  const auto norm = [&](const std::string& name, auto& norm) {
    visit.vector(name + ".weight", norm.weight, D);
    visit.vector(name + ".bias", norm.bias, D);
  };
  visit.matrix("emb.weight", weights.emb, h.vocab, D);
  if (h.embedding_norm) norm("blocks.0.ln0", weights.ln0);
  for (int l = 0; l < h.layers; ++l) {
    auto& layer = weights.layers[l];
    const std::string block = "blocks." + std::to_string(l) + ".";
    norm(block + "ln1", layer.ln1);
    norm(block + "ln2", layer.ln2);

    const std::string att = block + "att.";
    auto& t = layer.att;
    visit.vector(att + "x_r", t.x_r, D);
    visit.vector(att + "x_w", t.x_w, D);
    visit.vector(att + "x_k", t.x_k, D);
    visit.vector(att + "x_v", t.x_v, D);
    visit.vector(att + "x_a", t.x_a, D);
    visit.vector(att + "x_g", t.x_g, D);
    const auto low_rank = [&](const char* c, auto& first, auto& second, int rank) {
      visit.low_rank(att + c + "1", first, rank, D);
      visit.low_rank(att + c + "2", second, D, rank);
    };
    visit.vector(att + "w0", t.w0, D);
    low_rank("w", t.w1, t.w2, h.rank_w);
    visit.vector(att + "a0", t.a0, D);
    low_rank("a", t.a1, t.a2, h.rank_a);
    if (l > 0) {
      visit.vector(att + "v0", t.v0, D);
      low_rank("v", t.v1, t.v2, h.rank_v);
    }
    low_rank("g", t.g1, t.g2, h.rank_g);
    visit.vector(att + "k_k", t.k_k, D);
    visit.vector(att + "k_a", t.k_a, D);
    visit.vector(att + "r_k", t.r_k, D);
    visit.matrix(att + "receptance.weight", t.receptance, D, D);
    visit.matrix(att + "key.weight", t.key, D, D);
    visit.matrix(att + "value.weight", t.value, D, D);
    visit.matrix(att + "output.weight", t.output, D, D);
    norm(att + "ln_x", t.ln_x);

    visit.vector(block + "ffn.x_k", layer.ffn.x_k, D);
    visit.matrix(block + "ffn.key.weight", layer.ffn.key, h.ffn, D);
    visit.matrix(block + "ffn.value.weight", layer.ffn.value, D, h.ffn);
  }
  norm("ln_out", weights.ln_out);
  visit.matrix("head.weight", weights.head, h.vocab, D);
}

}  // namespace anser
