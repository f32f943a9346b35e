#include "model/load_weights.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "anser/error.h"
#include "model/dequantize.h"

namespace anser {
const char* not_finite_name(float x) {
  return std::isnan(x) ? "NaN" : "infinity";
}

void expect_type(const FileTensor& tensor, const std::string& path) {
  if (int(tensor.type) < kMatrixTypes) return;
  throw Error(
      fmt::format("{}: tensor {} has type {}, which anser does not compute with: expected F32, "
                  "F16, BF16, Q8_0, "
                  "Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K. Take a file of one of these types.",
                  path, tensor.name, dtype_name(tensor.type)));
}

void wrong_shape(const FileTensor& tensor, const std::string& expected, const std::string& path) {
  throw Error(fmt::format("{}: tensor {}: expected shape {}, found {}", path, tensor.name, expected,
                          tensor.shape_text()));
}

Vector widen(const FileTensor& tensor) {
  const int64_t n = tensor.elements();
  Vector values(static_cast<size_t>(n));
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
  Loader(const Checkpoint& checkpoint, const std::string& path, OwnedBytes& owned)
      : checkpoint_(checkpoint), path_(path), owned_(owned) {}

  void vector(const std::string& name, Vector& to, int size) {
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
    view(get(name), to, rows, cols, false);
  }

  void low_rank(const std::string& name, Matrix& to, int rows, int cols) {
    view(get(name), to, rows, cols, !checkpoint_.low_rank_out_in);
  }

 private:
  const FileTensor& get(const std::string& name) const {
    const auto at = checkpoint_.tensors.find(name);
    if (at == checkpoint_.tensors.end()) {
      throw Error(fmt::format("{}: tensor {} is missing", path_, name));
    }
    expect_type(at->second, path_);
    return at->second;
  }

  void view(const FileTensor& tensor, Matrix& to, int rows, int cols, bool transposed) {
    const int64_t first = transposed ? cols : rows, second = transposed ? rows : cols;
    if (tensor.shape.size() != 2 || tensor.shape[0] != first || tensor.shape[1] != second) {
      wrong_shape(tensor, fmt::format("[{}, {}]", first, second), path_);
    }
    to = {tensor.bytes.data(), tensor.type, rows, cols, transposed, tensor.name};
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
    std::vector<std::byte>& copy = owned_.emplace_back(size_t(tensor.elements()) * size);
    std::byte* to = copy.data();
    for (int64_t i = 0; i < tensor.shape[0]; ++i) {
      for (int64_t j = 0; j < tensor.shape[1]; ++j, to += size) {
        const int64_t at = i * tensor.strides[0] + j * tensor.strides[1];
        std::memcpy(to, tensor.bytes.data() + at * size, size);
      }
    }
    return copy.data();
  }

  const Checkpoint& checkpoint_;
  const std::string& path_;
  OwnedBytes& owned_;
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

}  // namespace

Weights load_weights(const Checkpoint& checkpoint, const Hyperparameters& h,
                     const std::string& path, OwnedBytes& owned) {
  Weights weights;
  weights.layers.resize(h.layers);
  visit_weights(weights, h, Loader(checkpoint, path, owned));
  return weights;
}

std::string find_not_finite(const Weights& weights, const Hyperparameters& h) {
  NotFinite search;
  visit_weights(weights, h, search);
  return search.found;
}

void fail_not_finite(const Model& model, uint64_t tokens) {
  const std::string weight = find_not_finite(model.weights(), model.hyperparameters());
  throw Error(weight.empty()
                  ? fmt::format("{}: a result is not a finite number after {} tokens, though all "
                                "weights are finite: the activations overflow, or the state is "
                                "damaged",
                                model.path(), tokens)
                  : fmt::format("{}: {}; the file is damaged or a training run diverged",
                                model.path(), weight));
}

void load_time_state(const FileTensor& tensor, const Hyperparameters& h, bool transposed,
                     const std::string& path, float* to) {
  const std::vector<int64_t> expected = {h.heads, h.head_size, h.head_size};
  if (tensor.shape != expected) {
    wrong_shape(tensor, fmt::format("[{}, {}, {}]", h.heads, h.head_size, h.head_size), path);
  }
  expect_type(tensor, path);
  const Vector values = widen(tensor);
  const int N = h.head_size;
  for (int head = 0; head < h.heads; ++head) {
    const float* from = values.data() + size_t(head) * N * N;
    float* S = to + size_t(head) * N * N;
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j < N; ++j) {
        const float x = transposed ? from[j * N + i] : from[i * N + j];
        if (!std::isfinite(x)) {
          throw Error(fmt::format("{}: tensor {}: {} in head {}", path, tensor.name,
                                  not_finite_name(x), head));
        }
        S[i * N + j] = x;
      }
    }
  }
}

}  // namespace anser
