#include "cuda/cuda_weights.h"

#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "cuda/encode.h"

namespace anser {
namespace {

// Pointers to all tensors of a Weights or a CudaWeights, in the order of visit_weights().
template <class M, class V>
struct Collect {
  std::vector<M*> matrices;
  std::vector<V*> vectors;
  std::vector<std::string> names;  // of the matrices
  void vector(const std::string&, V& v, int) { vectors.push_back(&v); }
  void low_rank(const std::string& name, M& m, int rows, int cols) { matrix(name, m, rows, cols); }
  void matrix(const std::string& name, M& m, int, int) {
    matrices.push_back(&m);
    names.push_back(name);
  }
};

}  // namespace

CudaWeights::CudaWeights(const Weights& weights, const Hyperparameters& h, cuda::Stream& stream) {
  layers.resize(size_t(h.layers));
  Collect<const Matrix, const Vector> from;
  Collect<cuda::DeviceMatrix, const float*> to;
  visit_weights(weights, h, from);
  visit_weights(*this, h, to);
  ANSER_CHECK(from.matrices.size() == to.matrices.size());
  ANSER_CHECK(from.vectors.size() == to.vectors.size());

  std::vector<EncodedLayout> layouts;
  size_t total = 0, largest = 0;
  for (size_t i = 0; i < from.matrices.size(); ++i) {
    layouts.push_back(
        encoded_layout(*from.matrices[i], from.names[i].ends_with("ffn.value.weight")));
    total += layouts.back().bytes;
    largest = std::max(largest, layouts.back().bytes);
  }
  for (const Vector* v : from.vectors) total += cuda::aligned(v->size() * sizeof(float));
  memory = cuda::Buffer(total);

  ThreadPool pool(usable_cores());
  const cuda::PinnedBuffer staging(largest);
  size_t at = 0;
  for (size_t i = 0; i < from.matrices.size(); ++i) {
    const EncodedLayout& layout = layouts[i];
    encode(*from.matrices[i], layout, staging.data(), pool);
    stream.upload(memory.as<std::byte>(at), staging.data(), layout.bytes);
    stream.wait();  // the staging memory is needed again
    cuda::DeviceMatrix& matrix = *to.matrices[i];
    matrix = layout.matrix;
    matrix.codes = memory.as<void>(at);
    if (layout.scales_at > 0) matrix.scales = memory.as<uint16_t>(at + layout.scales_at);
    if (layout.minima_at > 0) matrix.minima = memory.as<uint16_t>(at + layout.minima_at);
    at += layout.bytes;
  }
  for (size_t i = 0; i < from.vectors.size(); ++i) {
    const size_t bytes = from.vectors[i]->size() * sizeof(float);
    stream.upload(memory.as<void>(at), from.vectors[i]->data(), bytes);
    *to.vectors[i] = memory.as<float>(at);
    at += cuda::aligned(bytes);
  }
  stream.wait();
}

}  // namespace anser
