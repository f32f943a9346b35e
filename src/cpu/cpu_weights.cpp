#include "cpu/cpu_weights.h"

#include <cstring>
#include <vector>

#include "cpu/packed.h"

namespace anser {
namespace {

struct MatricesOf {
  std::vector<Matrix*>& list;

  void vector(const std::string&, Vector&, int) {}
  void low_rank(const std::string&, Matrix& m, int, int) { list.push_back(&m); }
  void matrix(const std::string&, Matrix& m, int, int) { list.push_back(&m); }
};

// A matrix stored as [cols][rows], which a strided file may do even with the embedding, copied to
// [rows][cols]. Plain types only. A file's bytes need not be aligned.
void turn(Matrix& m, AlignedBuffer<std::byte>& copy) {
  const size_t size = block_bytes(m.type), rows = m.rows, cols = m.cols;
  copy = AlignedBuffer<std::byte>(m.bytes());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) {
      std::memcpy(copy.data() + (r * cols + c) * size, m.data + (c * rows + r) * size, size);
    }
  }
  m.data = copy.data();
  m.transposed = false;
}

// Bytes of a file that are packed before its pages are given back.
constexpr size_t kForgetBytes = size_t{32} << 20;

// Packed matrices begin on cache lines.
size_t padded(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

CpuWeights::CpuWeights(const Weights& from, const Hyperparameters& h, ThreadPool& pool)
    : weights(from) {
  std::vector<Matrix*> matrices;
  visit_weights(weights, h, MatricesOf{matrices});
  std::erase(matrices, &weights.emb);
  if (weights.emb.transposed) turn(weights.emb, emb);

  size_t total = 0;
  for (const Matrix* m : matrices) total += padded(packed_bytes(*m));
  packed = HugeBlock(total);
  std::byte* to = packed.data();
  size_t since_forgotten = 0;
  for (Matrix* m : matrices) {
    pool.run([&](int worker) {
      const Part part = part_of(m->rows, worker, pool.size(), kTileOutputs);
      for (int o = int(part.begin); o < part.end; o += kTileOutputs) pack_tile(*m, o, to);
    });
    m->data = to;
    m->transposed = false;
    to += padded(packed_bytes(*m));

    // What was packed is not read again: without this, memory would hold most weights twice.
    since_forgotten += m->bytes();
    if (since_forgotten < kForgetBytes && m != matrices.back()) continue;
    for (const auto& file : weights.files) file->forget_pages();
    since_forgotten = 0;
  }
}

}  // namespace anser
