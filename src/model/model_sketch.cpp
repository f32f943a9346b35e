#include "model/model_sketch.h"

#include <xxhash.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "base/splitmix64.h"
#include "model/dequantize.h"

namespace anser {
namespace {

constexpr int kGroup = 16;
// Weights of a row that are looked at together: the largest block.
constexpr int kPiece = 256;
// Pieces of all large matrices together, about; each has one at least.
constexpr int kPieces = 384;
// Of vectors, which are many, and small.
constexpr int kOfVector = 64;

ModelSketch::Group order_of(std::span<const float> x) {
  ModelSketch::Group group = 0;
  for (int i = 0; i < kGroup; ++i) {
    const float value = size_t(i) < x.size() ? x[size_t(i)] : x[0];
    uint64_t smaller = 0;
    for (const float other : x) smaller += other < value;
    group |= smaller << (4 * i);
  }
  return group;
}

// Whether two weights of the group have changed places.
bool changed(ModelSketch::Group a, ModelSketch::Group b) {
  int of_a[kGroup], of_b[kGroup];
  for (int i = 0; i < kGroup; ++i) {
    of_a[i] = int(a >> (4 * i) & 15);
    of_b[i] = int(b >> (4 * i) & 15);
  }
  for (int i = 0; i < kGroup; ++i) {
    for (int j = 0; j < i; ++j) {
      if ((of_a[i] - of_a[j]) * (of_b[i] - of_b[j]) < 0) return true;
    }
  }
  return false;
}

bool is_identity(const Norm& norm) {
  return std::ranges::all_of(norm.weight, [](float x) { return x == 1; }) &&
         std::ranges::all_of(norm.bias, [](float x) { return x == 0; });
}

// Visits all weights. Which of them are looked at depends on names and sizes only.
class Draftsman {
 public:
  Draftsman(const Weights& weights, const Hyperparameters& h)
      // Some files have ln0 in the embedding already, which exchanges its weights.
      : leave_out_embedding_(is_identity(weights.ln0)),
        pieces_(std::clamp(kPieces / (6 * h.layers + 2), 1, 16)) {}

  void matrix(const std::string& name, const Matrix& m, int rows, int cols) {
    const bool empty = name == "emb.weight" && leave_out_embedding_;
    sample(name, m, rows, cols, pieces_, empty);
  }
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    sample(name, m, rows, cols, 1, false);
  }
  void vector(const std::string& name, const Vector& v, int size) {
    if (name.starts_with("blocks.0.ln0")) return;  // for the same reason
    add(std::span(v).first(size_t(std::min(size, kOfVector))));
  }

  std::vector<ModelSketch::Group> groups;

 private:
  // `empty`: as many groups, of equal weights.
  void sample(const std::string& name, const Matrix& m, int rows, int cols, int pieces,
              bool empty) {
    uint64_t random = XXH3_64bits(name.data(), name.size());
    const uint64_t first = splitmix64(random) % uint64_t(rows);
    const uint64_t places = uint64_t(cols + kPiece - 1) / kPiece;
    for (int p = 0; p < pieces; ++p) {
      const int row = int((first + uint64_t(p) * uint64_t(rows) / uint64_t(pieces)) % rows);
      const int col = int(splitmix64(random) % places) * kPiece;
      std::vector<float> piece(size_t(std::min(kPiece, cols - col)));
      if (!empty) read(m, row, col, piece);
      add(piece);
    }
  }

  static void read(const Matrix& m, int row, int col, std::span<float> to) {
    if (!m.transposed) {
      const std::byte* from = m.data + size_t(row) * m.row_bytes();
      dequantize_row(m.type, from + dtype_bytes(m.type, size_t(col)), int64_t(to.size()),
                     to.data());
      return;
    }
    for (size_t i = 0; i < to.size(); ++i) {  // of a plain type
      const size_t at = (size_t(col) + i) * size_t(m.rows) + size_t(row);
      dequantize_row(m.type, m.data + dtype_bytes(m.type, at), 1, &to[i]);
    }
  }

  void add(std::span<const float> weights) {
    for (size_t i = 0; i < weights.size(); i += kGroup) {
      groups.push_back(order_of(weights.subspan(i, std::min<size_t>(kGroup, weights.size() - i))));
    }
  }

  const bool leave_out_embedding_;
  const int pieces_;
};

}  // namespace

const std::vector<ModelSketch::Group>& ModelSketch::groups() const {
  std::call_once(once_, [this] {
    if (weights_ == nullptr) return;
    Draftsman draftsman(*weights_, *h_);
    visit_weights(*weights_, *h_, draftsman);
    groups_ = std::move(draftsman.groups);
  });
  return groups_;
}

size_t ModelSketch::changes(const ModelSketch& other) const {
  const std::vector<Group>&a = groups(), &b = other.groups();
  if (a.size() != b.size()) return std::max(a.size(), b.size());
  size_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i] && changed(a[i], b[i]);
  return count;
}

}  // namespace anser
