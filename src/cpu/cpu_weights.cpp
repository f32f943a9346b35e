#include "cpu/cpu_weights.h"

#include <cstring>

#include "base/check.h"

namespace anser {
namespace {

template <class T>
void transpose(const std::byte* from, std::byte* to, int rows, int cols) {
  // from [cols][rows] -> to [rows][cols]; a file's bytes need not be aligned
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      std::memcpy(to + (size_t(r) * cols + c) * sizeof(T),
                  from + (size_t(c) * rows + r) * sizeof(T), sizeof(T));
    }
  }
}

struct Untranspose {
  std::list<AlignedBuffer<std::byte>>& copies;

  void vector(const std::string&, Vector&, int) {}
  void low_rank(const std::string& name, Matrix& m, int rows, int cols) {
    matrix(name, m, rows, cols);
  }
  void matrix(const std::string&, Matrix& m, int, int) {
    if (!m.transposed) return;
    ANSER_CHECK(block_elements(m.type) == 1);
    std::byte* to = copies.emplace_back(m.bytes()).data();
    if (block_bytes(m.type) == 2) {
      transpose<uint16_t>(m.data, to, m.rows, m.cols);
    } else {
      transpose<uint32_t>(m.data, to, m.rows, m.cols);
    }
    m.data = to;
    m.transposed = false;
  }
};

}  // namespace

CpuWeights::CpuWeights(const Weights& from, const Hyperparameters& h) : weights(from) {
  visit_weights(weights, h, Untranspose{copies});
}

}  // namespace anser
