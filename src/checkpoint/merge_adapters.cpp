#include "checkpoint/merge_adapters.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "anser/error.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "model/dequantize.h"
#include "model/load_weights.h"
#include "model/quantize.h"
#include "quant/repack.h"

namespace anser {
namespace {

using Form = MatrixChange::Form;

// Rows per piece of work, so that the rows of A stay in a core's cache.
constexpr int kRows = 16;

// Whether B A is a part of W, as it is when a training began with PiSSA: sums over all matrices of
// one adapter.
struct Likeness {
  double dot = 0, product = 0, weight = 0;  // <B A, W>, |B A|^2, |W|^2

  void add(const Likeness& other) {
    dot += other.dot;
    product += other.product;
    weight += other.weight;
  }
  // The largest part of W has <B A, W> = |B A|^2, and is no small part of it. For a product that
  // was not made from W the two are unrelated: the cosine is about one over the square root of the
  // number of weights.
  bool is_part() const {
    const double ratio = dot / product, cosine = dot / std::sqrt(product * weight);
    return ratio > 0.5 && ratio < 1.5 && cosine > 0.05;
  }
};

// What one adapter does to a matrix [out][in], in fp32.
struct Change {
  Form form = Form::none;
  float scale = 1;
  int64_t rank = 0, columns = 0;  // of low_rank and shards; columns of D
  Vector left, right;             // low_rank: [out][rank] with the scale, and [rank][in]
  Vector d;
  Vector magnitude;              // [out], or empty
  Likeness* likeness = nullptr;  // where it is to be found out, one per worker
};

// B [out][r] times the factor, and A [r][in], behind what there is.
void add_pair(Change& change, const FileTensor& a, const FileTensor& b, bool turned,
              double factor) {
  // Turned: the matrix is the transpose of B A, that is A^T B^T.
  const FileTensor &first = turned ? a : b, &second = turned ? b : a;
  const Vector left = widen(first), right = widen(second);
  const int64_t r = a.shape[0], out = turned ? a.shape[1] : b.shape[0],
                in = turned ? b.shape[0] : a.shape[1], before = change.rank;
  Vector joined(size_t(out * (before + r)));
  for (int64_t o = 0; o < out; ++o) {
    float* row = joined.data() + o * (before + r);
    std::copy_n(change.left.data() + o * before, before, row);
    for (int64_t j = 0; j < r; ++j) {
      row[before + j] = float(factor * (turned ? left[j * out + o] : left[o * r + j]));
    }
  }
  change.left = std::move(joined);
  change.rank += r;
  for (int64_t j = 0; j < r; ++j) {
    for (int64_t k = 0; k < in; ++k) {
      change.right.push_back(turned ? right[k * r + j] : right[j * in + k]);
    }
  }
}

Change prepare(const MatrixChange& given) {
  Change change;
  change.form = given.form;
  change.scale = float(given.scale);
  if (given.form == Form::low_rank) {
    add_pair(change, *given.a, *given.b, given.embedding, given.scale);
    if (given.init_a != nullptr) {
      add_pair(change, *given.init_a, *given.init_b, given.embedding, -given.scale);
    }
    if (given.magnitude != nullptr) change.magnitude = widen(*given.magnitude);
    return change;
  }
  change.d = widen(*given.a);
  change.rank = given.form == Form::shards || given.form == Form::repeated_shards
                    ? given.a->shape[0]
                    : given.a->shape.back();
  change.columns = given.a->shape.back();
  return change;
}

void compare(const float* row, const float* product, int64_t in, double scale, Likeness& to) {
  for (int64_t k = 0; k < in; ++k) {
    const double one = product[k] / scale;
    to.add({one * row[k], one * one, double(row[k]) * row[k]});
  }
}

void apply_low_rank(const Change& c, int64_t o, int64_t in, int worker, float* row,
                    float* scratch) {
  std::fill_n(scratch, in, 0.0f);
  for (int64_t j = 0; j < c.rank; ++j) {
    const float factor = c.left[o * c.rank + j];
    const float* right = c.right.data() + j * in;
    for (int64_t k = 0; k < in; ++k) scratch[k] += factor * right[k];
  }
  if (c.likeness != nullptr) compare(row, scratch, in, c.scale, c.likeness[worker]);
  for (int64_t k = 0; k < in; ++k) row[k] += scratch[k];
  if (c.magnitude.empty()) return;
  double square = 0;
  for (int64_t k = 0; k < in; ++k) square += double(row[k]) * row[k];
  const double factor = c.magnitude[o] / std::sqrt(square);
  for (int64_t k = 0; k < in; ++k) row[k] = float(row[k] * factor);
}

void apply_shards(const Change& c, int64_t o, int64_t in, float* row, float* scratch) {
  for (int64_t j = 0; j < c.rank; ++j) {
    const int64_t at = c.form == Form::package ? o * c.rank + j : j * c.columns + o % c.columns;
    scratch[j] = c.scale * c.d[at];
  }
  for (int64_t k = 0; k < in; ++k) row[k] += scratch[k % c.rank];
}

void apply_blocks(const Change& c, int64_t o, int64_t in, float* row, float* scratch) {
  const int64_t r = c.rank;
  for (int64_t block = 0; block < in / r; ++block) {
    const int64_t which = c.form == Form::column_blocks ? block : o / r;
    const float* d = c.d.data() + which * r * r;
    const float* w = row + block * r;
    float* to = scratch + block * r;
    std::copy_n(d + o % r * r, r, to);
    for (int64_t i = 0; i < r; ++i) {
      for (int64_t k = 0; k < r; ++k) to[k] += w[i] * d[i * r + k];
    }
  }
  for (int64_t k = 0; k < in; ++k) row[k] += c.scale * scratch[k];
}

void apply(const Change& c, int64_t o, int64_t in, int worker, float* row, float* scratch) {
  switch (c.form) {
    case Form::low_rank:
      return apply_low_rank(c, o, in, worker, row, scratch);
    case Form::column_blocks:
    case Form::row_blocks:
      return apply_blocks(c, o, in, row, scratch);
    default:
      return apply_shards(c, o, in, row, scratch);
  }
}

void read_row(const Matrix& m, int64_t o, float* row) {
  if (is_repacked(m.type)) {
    const bool fits = repack(m.type, m.data + o * m.row_bytes(), m.cols, DType::f32,
                             reinterpret_cast<std::byte*>(row));
    ANSER_CHECK(fits);
    return;
  }
  if (!m.transposed) {
    dequantize_row(m.type, m.data + o * m.row_bytes(), m.cols, row);
    return;
  }
  // Only plain types are stored so.
  for (int64_t k = 0; k < m.cols; ++k) {
    dequantize_row(m.type, m.data + dtype_bytes(m.type, size_t(k * m.rows + o)), 1, row + k);
  }
}

class Merger {
 public:
  Merger(MergedBytes& merged, bool to_f16, bool exact)
      : merged_(merged), to_f16_(to_f16), exact_(exact), pool_(usable_cores()) {}

  // Throws Error that begins with `source`.
  void merge(Matrix& m, const std::vector<Change>& changes, const std::string& source) {
    const bool half = !exact_ && (block_elements(m.type) > 1 || (to_f16_ && m.type != DType::f32));
    DType type = half ? DType::f16 : DType::f32;
    Matrix to = m;
    to.transposed = false;
    for (;;) {
      to.type = type;
      merged_.push_back(std::make_unique_for_overwrite<std::byte[]>(to.bytes()));
      if (fill(m, changes, to, merged_.back().get(), source)) break;
      merged_.pop_back();  // a weight beyond what F16 holds
      type = DType::f32;
    }
    to.data = merged_.back().get();
    matrices_ += 1;
    before_ += m.bytes();
    after_ += to.bytes();
    types_[type] += 1;
    m = to;
  }

  int workers() const { return pool_.size(); }

  std::string text() const {
    return fmt::format(
        "{} matrices were changed by adapters and take {:.1f} MB of memory as {}, "
        "instead of {:.1f} MB of the file",
        matrices_, double(after_) / 1e6,
        types_.size() == 1 ? dtype_name(types_.begin()->first) : "F16 and F32",
        double(before_) / 1e6);
  }

 private:
  bool fill(const Matrix& m, const std::vector<Change>& changes, const Matrix& to, std::byte* bytes,
            const std::string& source) {
    const size_t cols = size_t(m.cols);
    std::vector<Vector> scratch(size_t(pool_.size()), Vector(2 * cols));
    const float largest = largest_weight(to.type);
    std::atomic<bool> fits = true;
    pool_.for_each(size_t(m.rows + kRows - 1) / kRows, [&](size_t piece, int worker) {
      float* row = scratch[size_t(worker)].data();
      const int64_t begin = int64_t(piece) * kRows, end = std::min<int64_t>(begin + kRows, m.rows);
      for (int64_t o = begin; o < end && fits; ++o) {
        read_row(m, o, row);
        for (const Change& change : changes) {
          apply(change, o, m.cols, worker, row, row + cols);
        }
        for (size_t k = 0; k < cols; ++k) {
          if (!std::isfinite(row[k])) {
            throw Error(fmt::format("{}: merged into tensor {} it gives {} at [{}, {}]", source,
                                    m.name, not_finite_name(row[k]), o, k));
          }
          if (std::fabs(row[k]) > largest) fits = false;
        }
        if (fits) quantize_row(to.type, row, m.cols, bytes + size_t(o) * to.row_bytes());
      }
    });
    return fits;
  }

  MergedBytes& merged_;
  const bool to_f16_, exact_;
  ThreadPool pool_;
  int matrices_ = 0;
  size_t before_ = 0, after_ = 0;
  std::map<DType, int> types_;
};

// Matrices by original name.
struct Matrices {
  std::map<std::string, Matrix*> found;

  void vector(const std::string&, Vector&, int) {}
  void matrix(const std::string& name, Matrix& m, int, int) { found[name] = &m; }
  void low_rank(const std::string& name, Matrix& m, int, int) { found[name] = &m; }
};

}  // namespace

std::set<std::string> changed_matrices(std::span<const OpenedAdapter> adapters) {
  std::set<std::string> names;
  for (const OpenedAdapter& adapter : adapters) {
    for (const auto& [name, change] : adapter.changes) names.insert(name);
  }
  return names;
}

void merge_adapters(std::span<const OpenedAdapter> adapters, Weights& weights,
                    const Hyperparameters& h, bool to_f16, bool exact, MergedBytes& merged,
                    std::vector<std::string>& notes) {
  Matrices matrices;
  visit_weights(weights, h, matrices);
  struct Wanted {
    const MatrixChange* change;
    size_t adapter;
  };
  std::map<std::string, std::vector<Wanted>> wanted;
  for (size_t i = 0; i < adapters.size(); ++i) {
    for (const auto& [name, change] : adapters[i].changes) {
      if (matrices.found.count(name) == 0) {
        throw Error(fmt::format("{}: the module {} is for {}, which this model does not use",
                                adapters[i].path, change.module, name));
      }
      wanted[name].push_back({&change, i});
    }
  }
  if (wanted.empty()) return;
  Merger merger(merged, to_f16, exact);
  std::vector<std::vector<Likeness>> likeness(adapters.size());
  for (auto& one : likeness) one.resize(size_t(merger.workers()));
  for (const auto& [name, list] : wanted) {
    std::vector<Change> changes;
    std::string source;
    for (const auto& [change, adapter] : list) {
      changes.push_back(prepare(*change));
      if (change->may_be_pissa) changes.back().likeness = likeness[adapter].data();
      source += (source.empty() ? "" : " and ") + adapters[adapter].path;
    }
    merger.merge(*matrices.found.at(name), changes, source);
  }
  for (size_t i = 0; i < adapters.size(); ++i) {
    Likeness whole;
    for (const Likeness& one : likeness[i]) whole.add(one);
    if (!whole.is_part()) continue;
    notes.push_back(
        fmt::format("{}: what it adds is a part of the model's own weights, as if it was trained "
                    "with PiSSA. Then "
                    "this is wrong: it needs the init_pissa.pth of the same training "
                    "(--lora-init), and no alpha",
                    adapters[i].path));
  }
  notes.push_back(merger.text());
}

}  // namespace anser
