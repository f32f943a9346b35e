#include "model/load_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "anser/error.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "formats/checks.h"
#include "model/dequantize.h"
#include "quant/repack.h"

namespace anser {
const char* not_finite_name(float x) {
  return std::isnan(x) ? "NaN" : "infinity";
}

bool can_be_loaded(DType type) {
  return int(type) < kMatrixTypes || is_repacked(type);
}

void expect_type(const FileTensor& tensor, const std::string& path) {
  if (can_be_loaded(tensor.type)) return;
  std::vector<std::string> names;
  for (int type = 0; type < int(DType::unsupported); ++type) {
    if (can_be_loaded(DType(type))) names.push_back(dtype_name(DType(type)));
  }
  throw Error(
      fmt::format("{}: tensor {} has unsupported type {}; expected one of {}. Take a file of one "
                  "of these types",
                  path, tensor.name, tensor.type_name(), fmt::join(names, ", ")));
}

void wrong_shape(const FileTensor& tensor, const std::string& expected, const std::string& path) {
  throw Error(fmt::format("{}: tensor {}: expected shape {}, found {}", path, tensor.name, expected,
                          tensor.shape_text()));
}

Vector widen(const FileTensor& tensor) {
  const int64_t n = tensor.elements();
  Vector values(static_cast<size_t>(n));
  if (is_repacked(tensor.type)) {
    const bool fits = repack(tensor.type, tensor.bytes.data(), n, DType::f32,
                             reinterpret_cast<std::byte*>(values.data()));
    ANSER_CHECK(fits);
    return values;
  }
  if (tensor.contiguous()) {
    dequantize_row(tensor.type, tensor.bytes.data(), n, values.data());
    return values;
  }
  const size_t size = dtype_bytes(tensor.type, 1);
  std::vector<int64_t> index(tensor.shape.size());
  for (int64_t i = 0; i < n; ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * tensor.strides[d];
    dequantize_row(tensor.type, tensor.bytes.data() + at * size, 1, &values[i]);
    for (size_t d = index.size(); d-- > 0 && ++index[d] == tensor.shape[d];) index[d] = 0;
  }
  return values;
}

namespace {

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const std::string& path, bool exact,
         const std::set<std::string>& as_stored, OwnedBytes& owned)
      : checkpoint_(checkpoint), path_(path), exact_(exact), as_stored_(as_stored), owned_(owned) {}

  void vector(const std::string& name, Vector& to, int size) {
    if (!checkpoint_.says.norm_bias && name.ends_with(".bias") && !name.ends_with("ln_x.bias")) {
      used_.insert(name);  // not at all, of which there is a note already
      to.assign(size_t(size), 0);
      return;
    }
    const FileTensor& tensor = get(name);
    if (tensor.elements() != size) wrong_shape(tensor, fmt::format("[{}]", size), path_);
    to = widen(tensor);
    for (size_t i = 0; i < to.size(); ++i) {
      if (!std::isfinite(to[i])) {
        throw Error(
            fmt::format("{}: tensor {}: {} at [{}]; the file is damaged or a training run "
                        "diverged",
                        path_, tensor.name, not_finite_name(to[i]), i));
      }
    }
  }

  void matrix(const std::string& name, Matrix& to, int rows, int cols) {
    view(get(name), to, rows, cols, false, as_stored_.count(name) == 0);
  }

  void low_rank(const std::string& name, Matrix& to, int rows, int cols) {
    view(get(name), to, rows, cols, !checkpoint_.low_rank_out_in, as_stored_.count(name) == 0);
  }

  // Which tensors of the file have no part in the model, in one sentence; empty when all have. What
  // a file may hold besides: the unused value residual of layer 0, and a state to begin with.
  std::string unused_text() const {
    std::vector<std::string> names = checkpoint_.unknown;
    for (const auto& [name, tensor] : checkpoint_.tensors) {
      if (used_.count(name) == 0 && !name.starts_with("blocks.0.att.v") &&
          !name.ends_with(".att.time_state") && !name.ends_with(".att.ts_state")) {
        names.push_back(tensor.name);
      }
    }
    if (names.empty()) return "";
    constexpr size_t kShown = 3;
    const size_t count = names.size();
    names.resize(std::min(count, kShown));
    for (std::string& name : names) name = printable(name);
    return fmt::format("{}: {} tensor{} not part of an RWKV-7 and not used: {}{}", path_, count,
                       count == 1 ? " is" : "s are", fmt::join(names, ", "),
                       count > kShown ? ", ..." : "");
  }

  // What was repacked, in one sentence; empty when nothing was.
  std::string repacked_text() const {
    if (repacked_.empty()) return "";
    std::vector<std::string> parts;
    size_t before = 0, after = 0;
    for (const auto& [types, sum] : repacked_) {
      const auto [from, to] = types;
      parts.push_back(fmt::format(
          "{} {} {} as {} ({})", sum.matrices, dtype_name(from),
          sum.matrices == 1 ? "matrix" : "matrices", dtype_name(to),
          to == DType::f16 ? "each weight rounded by at most 1/2048" : "the same numbers"));
      before += sum.bytes_before;
      after += sum.bytes_after;
    }
    return fmt::format("{}: repacked {}; they take {:.1f} MB in the file and {:.1f} MB in memory",
                       path_, fmt::join(parts, ", "), double(before) / 1e6, double(after) / 1e6);
  }

 private:
  const FileTensor& get(const std::string& name) {
    const auto at = checkpoint_.tensors.find(name);
    if (at == checkpoint_.tensors.end()) {
      throw Error(fmt::format("{}: tensor {} is missing", path_, checkpoint_.name_in_file(name)));
    }
    expect_type(at->second, path_);
    used_.insert(name);
    return at->second;
  }

  void view(const FileTensor& tensor, Matrix& to, int rows, int cols, bool transposed,
            bool may_repack) {
    const int64_t first = transposed ? cols : rows, second = transposed ? rows : cols;
    if (tensor.shape.size() != 2 || tensor.shape[0] != first || tensor.shape[1] != second) {
      wrong_shape(tensor, fmt::format("[{}, {}]", first, second), path_);
    }
    to = {tensor.bytes.data(), tensor.type, rows, cols, transposed, tensor.name, tensor.type};
    if (may_repack && is_repacked(tensor.type)) repack_matrix(tensor, to);
    if (!tensor.contiguous()) {
      if (tensor.strides[0] == 1 && tensor.strides[1] == first) {
        to.transposed = !transposed;  // a transposed view of a contiguous matrix
      } else {
        to.data = gather(tensor);
      }
    }
    if (to.transposed && block_elements(to.type) > 1) {
      throw Error(fmt::format("{}: tensor {}: a {} matrix cannot be stored as [inputs, outputs]",
                              path_, tensor.name, dtype_name(to.type)));
    }
  }

  const std::byte* gather(const FileTensor& tensor) {
    const size_t size = dtype_bytes(tensor.type, 1);
    std::byte* const copy = own(size_t(tensor.elements()) * size);
    std::byte* to = copy;
    for (int64_t i = 0; i < tensor.shape[0]; ++i) {
      for (int64_t j = 0; j < tensor.shape[1]; ++j, to += size) {
        const int64_t at = i * tensor.strides[0] + j * tensor.strides[1];
        std::memcpy(to, tensor.bytes.data() + at * size, size);
      }
    }
    return copy;
  }

  // Not zeroed: the workers that fill it bring its pages in.
  std::byte* own(size_t bytes) {
    return owned_.emplace_back(std::make_unique_for_overwrite<std::byte[]>(bytes)).get();
  }

  void repack_matrix(const FileTensor& tensor, Matrix& m) {
    m.type = exact_ && !repacks_exactly(tensor.type) ? DType::f32 : repacked_type(tensor.type);
    std::byte* to = own(m.bytes());
    if (!repack_into(tensor, m.type, to)) {
      owned_.pop_back();
      m.type = DType::f32;
      to = own(m.bytes());
      repack_into(tensor, m.type, to);
    }
    m.data = to;
    Repacked& sum = repacked_[{tensor.type, m.type}];
    sum.matrices += 1;
    sum.bytes_before += tensor.bytes.size();
    sum.bytes_after += m.bytes();
  }

  bool repack_into(const FileTensor& tensor, DType type, std::byte* to) {
    if (!pool_) pool_ = std::make_shared<ThreadPool>(usable_cores());
    const int64_t block = block_elements(tensor.type), blocks = tensor.elements() / block;
    std::atomic<bool> fits = true;
    pool_->run([&](int worker) {
      const Part part = part_of(blocks, worker, pool_->size());
      const auto first = size_t(part.begin * block);
      if (!repack(tensor.type, tensor.bytes.data() + dtype_bytes(tensor.type, first),
                  (part.end - part.begin) * block, type, to + dtype_bytes(type, first))) {
        fits = false;
      }
    });
    return fits;
  }

  // Of all matrices of one type that became another.
  struct Repacked {
    int matrices = 0;
    size_t bytes_before = 0, bytes_after = 0;
  };

  const Checkpoint& checkpoint_;
  const std::string& path_;
  std::set<std::string> used_;  // original names
  const bool exact_;
  const std::set<std::string>& as_stored_;
  OwnedBytes& owned_;
  std::shared_ptr<ThreadPool> pool_;  // made when it is needed
  std::map<std::pair<DType, DType>, Repacked> repacked_;
};

struct NotFinite {
  std::string found;

  void vector(const std::string&, const Vector&, int) {}  // checked when loaded
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    matrix(name, m, rows, cols);
  }
  void matrix(const std::string&, const Matrix& m, int, int) {
    if (!found.empty()) return;
    const int rows = m.transposed ? m.cols : m.rows, cols = m.transposed ? m.rows : m.cols;
    Vector row(static_cast<size_t>(cols));
    for (int i = 0; i < rows; ++i) {
      dequantize_row(m.type, m.data + i * dtype_bytes(m.type, cols), cols, row.data());
      for (int j = 0; j < cols; ++j) {
        if (std::isfinite(row[j])) continue;
        found = fmt::format("tensor {}: {} at [{}, {}]", m.name, not_finite_name(row[j]), i, j);
        return;
      }
    }
  }
};

// Whether all exponent bits of some element are set.
template <class Bits>
bool any_special(const Matrix& m, Bits exponent) {
  bool found = false;
  for (size_t at = 0, end = m.bytes(); at < end; at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, m.data + at, sizeof(bits));
    found |= (bits & exponent) == exponent;
  }
  return found;
}

struct NotFiniteLowRank : NotFinite {
  void matrix(const std::string&, const Matrix&, int, int) {}
  void low_rank(const std::string& name, const Matrix& m, int rows, int cols) {
    const bool good = (m.type == DType::f32 && !any_special(m, uint32_t(0x7f800000))) ||
                      (m.type == DType::f16 && !any_special(m, uint16_t(0x7c00))) ||
                      (m.type == DType::bf16 && !any_special(m, uint16_t(0x7f80)));
    if (!good) NotFinite::matrix(name, m, rows, cols);
  }
};

[[noreturn]] void fail_of_weight(const std::string& model, const std::string& weight) {
  throw Error(fmt::format("{}: {}; the file is damaged or a training run diverged", model, weight));
}

}  // namespace

Weights load_weights(const Checkpoint& checkpoint, const Hyperparameters& h,
                     const std::string& path, bool exact, const std::set<std::string>& as_stored,
                     OwnedBytes& owned, std::vector<std::string>& notes) {
  Weights weights;
  weights.layers.resize(h.layers);
  Loader loader(checkpoint, path, exact, as_stored, owned);
  visit_weights(weights, h, loader);
  for (std::string text : {loader.unused_text(), loader.repacked_text()}) {
    if (!text.empty()) notes.push_back(std::move(text));
  }
  return weights;
}

std::string find_not_finite(const Weights& weights, const Hyperparameters& h) {
  NotFinite search;
  visit_weights(weights, h, search);
  return search.found;
}

void check_low_rank_finite(const Model& model) {
  NotFiniteLowRank search;
  visit_weights(model.weights(), model.hyperparameters(), search);
  if (!search.found.empty()) fail_of_weight(model.path(), search.found);
}

void fail_not_finite(const Model& model, uint64_t tokens) {
  const std::string weight = find_not_finite(model.weights(), model.hyperparameters());
  // By its name: clients of a server are told, and its path is not theirs to know.
  if (!weight.empty()) fail_of_weight(model.name(), weight);
  throw Error(
      fmt::format("{}: a result is not a finite number after {} tokens, though all weights are "
                  "finite: the activations overflow, or the state is damaged",
                  model.name(), tokens));
}

}  // namespace anser
