#include "model/save_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "anser/error.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "model/dequantize.h"
#include "model/quantize.h"

namespace anser {
namespace {

constexpr int64_t kPiece = int64_t(1) << 20;  // weights, 4 MB as fp32

// Rows [begin, end) of what is written, from a matrix that is stored the other way round: a piece
// of every stored row.
void gather_rows(const Matrix& m, int64_t begin, int64_t end, float* to) {
  const int64_t stored_rows = m.transposed ? m.cols : m.rows;
  const int64_t stored_cols = m.transposed ? m.rows : m.cols;
  const int64_t block = block_elements(m.type);
  const int64_t from = begin / block * block, count = (end + block - 1) / block * block - from;
  Vector part(static_cast<size_t>(count));
  for (int64_t j = 0; j < stored_rows; ++j) {
    dequantize_row(m.type, m.data + dtype_bytes(m.type, size_t(j * stored_cols + from)), count,
                   part.data());
    for (int64_t i = begin; i < end; ++i) to[(i - begin) * stored_rows + j] = part[i - from];
  }
}

class Source {
 public:
  explicit Source(const SavedTensor& tensor) : tensor_(tensor) {}

  bool as_stored() const {
    const Matrix* m = tensor_.matrix;
    return m != nullptr && m->transposed == tensor_.transposed;
  }
  // Rows [begin, end) as fp32.
  void read(int64_t begin, int64_t end, int64_t cols, float* to) const {
    if (tensor_.matrix == nullptr) {
      std::copy_n(tensor_.values.data() + begin * cols, (end - begin) * cols, to);
    } else if (as_stored()) {
      dequantize_row(tensor_.matrix->type, stored(begin * cols), (end - begin) * cols, to);
    } else {
      gather_rows(*tensor_.matrix, begin, end, to);
    }
  }
  // A row that need not change: no rounding, not even of a quantised type to itself.
  bool unchanged() const { return as_stored() && tensor_.matrix->type == tensor_.type; }
  const std::byte* stored(int64_t element) const {
    return tensor_.matrix->data + dtype_bytes(tensor_.matrix->type, size_t(element));
  }
  // The name and place of an element in the file that it comes from.
  std::string place(int64_t row, int64_t col) const {
    const Matrix* m = tensor_.matrix;
    if (m == nullptr) return fmt::format("tensor {}: element {}", tensor_.name, col);
    if (!as_stored()) std::swap(row, col);
    return fmt::format("tensor {}: element [{}, {}]", m->name, row, col);
  }

 private:
  const SavedTensor& tensor_;
};

// The first weight that cannot be stored, in one worker's rows.
struct Bad {
  int64_t row = -1, col = 0;
  float value = 0;
};

[[noreturn]] void refuse(const Bad& bad, const SavedTensor& tensor, const std::string& path) {
  const std::string place = Source(tensor).place(bad.row, bad.col);
  if (!std::isfinite(bad.value)) {
    throw Error(fmt::format("{}: {} is {}; the file is damaged or a training run diverged", path,
                            place, std::isnan(bad.value) ? "NaN" : "infinite"));
  }
  throw Error(fmt::format("{}: {} is {}, and {} ends at {}. BF16 and F32 can hold it", path, place,
                          bad.value, dtype_name(tensor.type), largest_weight(tensor.type)));
}

}  // namespace

int64_t SavedTensor::elements() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

void write_tensors(std::span<const SavedTensor> tensors, const Model& model,
                   const SaveOptions& options,
                   const std::function<void(std::span<const std::byte>)>& write) {
  size_t all = 0, done = 0;
  for (const SavedTensor& tensor : tensors) all += tensor.bytes();

  // As in the workers: the mode must not depend on which thread gets a row.
  const FlushDenormals flush;
  ThreadPool pool(options.threads);
  Vector values;
  std::vector<std::byte> stored;
  for (const SavedTensor& tensor : tensors) {
    const Source source(tensor);
    const int64_t cols = tensor.shape.back(), rows = tensor.elements() / cols;
    const int64_t piece = std::clamp<int64_t>(kPiece / cols, 1, rows);
    const size_t row_bytes = dtype_bytes(tensor.type, size_t(cols));
    values.resize(size_t(piece * cols));
    stored.resize(size_t(piece) * row_bytes);
    const float largest = largest_weight(tensor.type);
    for (int64_t begin = 0; begin < rows; begin += piece) {
      const int64_t count = std::min(piece, rows - begin);
      std::vector<Bad> bad(size_t(pool.size()));
      pool.run([&](int worker) {
        const Part part = part_of(count, worker, pool.size());
        if (part.begin == part.end) return;
        source.read(begin + part.begin, begin + part.end, cols, values.data() + part.begin * cols);
        for (int64_t row = part.begin; row < part.end; ++row) {
          const float* x = values.data() + row * cols;
          // False for NaN too.
          const auto fits = [&](float value) { return std::fabs(value) <= largest; };
          if (const float* first = std::find_if_not(x, x + cols, fits); first != x + cols) {
            bad[size_t(worker)] = {begin + row, first - x, *first};
            return;
          }
          std::byte* to = stored.data() + size_t(row) * row_bytes;
          if (source.unchanged()) {
            std::memcpy(to, source.stored((begin + row) * cols), row_bytes);
          } else {
            quantize_row(tensor.type, x, cols, to);
          }
        }
      });
      for (const Bad& one : bad) {
        if (one.row >= 0) refuse(one, tensor, model.path());
      }
      write(std::span(stored).first(size_t(count) * row_bytes));
      done += size_t(count) * row_bytes;
      if (options.progress) options.progress(done, all);
    }
  }
}

void check_group_norm(const Model& model) {
  const float eps = model.hyperparameters().group_norm_eps,
              usual = Hyperparameters().group_norm_eps;
  if (std::fabs(eps - usual) <= 1e-6f * usual) return;
  throw Error(fmt::format(
      "{}: the epsilon of its group norm is {}, as the config.json says. Only a Hugging Face "
      "folder "
      "can say so: every reader of the file to be written would take {}, and run another model. "
      "anser runs the folder itself.",
      model.path(), eps, usual));
}

}  // namespace anser
