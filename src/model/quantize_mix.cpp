#include "model/quantize_mix.h"

#include <fmt/format.h>

#include <string_view>

#include "anser/error.h"

namespace anser {
namespace {

// w1, w2, a1 ... g2.
bool is_low_rank(std::string_view name) {
  const size_t att = name.find(".att.");
  return att != std::string_view::npos && name.size() == att + 7 &&
         (name.back() == '1' || name.back() == '2');
}

// What 4 bits hurt most: for the embedded model the divergence per bit saved is 1.5 to 7 times that
// of the other matrices (docs/performance.md). llama.cpp spends the bits of K mixes on the head
// alone, two steps; one step for all of these loses less at the same size.
bool is_sensitive(std::string_view name) {
  return name == "emb.weight" || name == "head.weight" || name.ends_with(".att.value.weight") ||
         name.ends_with(".att.output.weight");
}

}  // namespace

DType matrix_type(const std::string& name, int cols, DType type) {
  const bool plain = block_elements(type) == 1;
  if (is_low_rank(name)) {
    // The decay is a double exponential, whose errors the state adds up; llama.cpp's converter
    // keeps its pair in fp32 too. The other pairs are under 3 % of a model: not worth a block type.
    if (name.ends_with(".w1") || name.ends_with(".w2")) return DType::f32;
    return plain ? type : DType::f16;
  }
  const bool four_bits = type == DType::q4_0 || type == DType::q4_k;
  // Others found one output channel of this matrix that swamps the rest when it is rounded to 4
  // bits (reference 3.7). It is small, and there is one.
  if (four_bits && name == "blocks.0.att.output.weight") return DType::q8_0;
  if (!is_sensitive(name)) return type;
  // Rows that fill no blocks of 256 are those of small models only.
  if (four_bits) return cols % block_elements(DType::q5_k) == 0 ? DType::q5_k : DType::q5_0;
  return type == DType::q5_k ? DType::q6_k : type;
}

void check_quantizable(const Hyperparameters& h, DType type, const std::string& path) {
  const int block = block_elements(type);
  if (h.width % block == 0 && h.ffn % block == 0) return;
  // Another type for the rows that do not fit would be possible, and is what llama.cpp does; but
  // then hardly a matrix of the file is what was asked for and what its name says. No published
  // model has such rows.
  const bool others = block == 256 && h.width % 32 == 0 && h.ffn % 32 == 0;
  throw Error(
      fmt::format("{}: {} stores a row of weights in blocks of {}, and the rows of this model's "
                  "matrices have {} "
                  "and {} weights. {}",
                  path, dtype_name(type), block, h.width, h.ffn,
                  others ? "Q8_0 and Q4_0, in blocks of 32, fit."
                         : "Keep its weights as F16 (anser convert)."));
}

}  // namespace anser
