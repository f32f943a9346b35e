#include "cuda/gemm.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <bit>
#include <map>
#include <tuple>
#include <vector>

#include "anser/error.h"
#include "cuda/cublaslt.h"

namespace anser::cuda {
namespace {

constexpr size_t kWorkspaceBytes = 32 << 20;  // what NVIDIA recommends for Hopper
constexpr int kCandidates = 8;
constexpr int kTimings = 3;

const CublasLt& lt() {
  const CublasLt* found = cublaslt();
  if (found == nullptr) {
    throw Error(
        fmt::format("libcublasLt.so.{} was not found; install cuBLAS of CUDA {}, or add its "
                    "folder to LD_LIBRARY_PATH, or use --device cpu",
                    CUBLAS_VER_MAJOR, CUBLAS_VER_MAJOR));
  }
  return *found;
}

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format("cuBLASLt, {}: {}", what, lt().status_string(status)));
}

cudaDataType_t data_type(Format type) {
  return type == Format::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

// The library counts columns first: a line of ours is a column of its.
struct Descriptors {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t W = nullptr, x = nullptr, y = nullptr;

  explicit Descriptors(const Product& p) {
    check(lt().desc_create(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
    const cublasOperation_t turn = p.transposed ? CUBLAS_OP_N : CUBLAS_OP_T;
    check(lt().desc_set(operation, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof(turn)),
          "a transposed matrix");
    const auto layout = [](cublasLtMatrixLayout_t& to, cudaDataType_t type, int height, int width,
                           int pitch) {
      check(lt().layout_create(&to, type, uint64_t(height), uint64_t(width), pitch), "a matrix");
    };
    layout(W, data_type(p.type), p.transposed ? p.outputs : p.inputs,
           p.transposed ? p.inputs : p.outputs, p.pitch);
    layout(x, data_type(p.type), p.inputs, p.rows, p.x_pitch);
    layout(y, CUDA_R_32F, p.outputs, p.rows, p.outputs);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    lt().layout_destroy(y);
    lt().layout_destroy(x);
    lt().layout_destroy(W);
    lt().desc_destroy(operation);
  }
};

using Key = std::tuple<int, int, int, int, bool, Format, bool>;

Key key_of(const Product& p) {
  return {p.rows, p.inputs, p.outputs, p.pitch, p.transposed, p.type, p.beta != 0};
}

}  // namespace

struct Gemm::Library {
  cublasLtHandle_t handle = nullptr;
  Buffer workspace{kWorkspaceBytes};
  std::map<Key, cublasLtMatmulAlgo_t> chosen;
  // What was measured, for all numbers of rows up to the next power of two: a prompt is hardly ever
  // as long as one before.
  std::map<Key, cublasLtMatmulAlgo_t> measured;

  cublasStatus_t run(cudaStream_t stream, const Product& p, const Descriptors& d, float* y,
                     const cublasLtMatmulAlgo_t& algorithm) {
    return lt().matmul(handle, d.operation, &p.alpha, p.W, d.W, p.x, d.x, &p.beta, y, d.y, y, d.y,
                       &algorithm, workspace.data(), kWorkspaceBytes, stream);
  }

  std::vector<cublasLtMatmulHeuristicResult_t> candidates(const Descriptors& d) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(lt().preference_create(&preference), "preferences");
    lt().preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
                        sizeof(kWorkspaceBytes));
    std::vector<cublasLtMatmulHeuristicResult_t> found(kCandidates);
    int count = 0;
    const cublasStatus_t status = lt().heuristic(handle, d.operation, d.W, d.x, d.y, d.y,
                                                 preference, kCandidates, found.data(), &count);
    lt().preference_destroy(preference);
    check(status, "choosing an algorithm");
    if (count == 0) throw Error("cuBLASLt has no algorithm for a product of this model");
    found.resize(size_t(count));
    return found;
  }

  // Each candidate a few times into a buffer of its own: y may already hold the sum's other half.
  cublasLtMatmulAlgo_t fastest(cudaStream_t stream, const Product& p, const Descriptors& d) {
    const auto found = candidates(d);
    const Buffer scratch(size_t(p.rows) * p.outputs * sizeof(float));
    cudaEvent_t begin, end;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    size_t best = 0;
    float shortest = 1e30f;
    for (size_t i = 0; i < found.size(); ++i) {
      if (run(stream, p, d, scratch.as<float>(), found[i].algo) != CUBLAS_STATUS_SUCCESS) continue;
      cudaEventRecord(begin, stream);
      for (int t = 0; t < kTimings; ++t) run(stream, p, d, scratch.as<float>(), found[i].algo);
      cudaEventRecord(end, stream);
      cudaEventSynchronize(end);
      float ms = 1e30f;
      cudaEventElapsedTime(&ms, begin, end);
      if (ms < shortest) {
        shortest = ms;
        best = i;
      }
    }
    cudaEventDestroy(end);
    cudaEventDestroy(begin);
    return found[best].algo;
  }
};

bool Gemm::available() {
  return cublaslt() != nullptr;
}

Gemm::Gemm() = default;

Gemm::~Gemm() {
  if (library_ != nullptr) lt().destroy(library_->handle);
}

void Gemm::multiply(Stream& stream, const Product& p) {
  if (library_ == nullptr) {
    auto made = std::make_unique<Library>();
    check(lt().create(&made->handle), "starting");
    library_ = std::move(made);
  }
  const auto queue = static_cast<cudaStream_t>(stream.handle());
  const Descriptors descriptors(p);
  const auto at = library_->chosen.find(key_of(p));
  if (at != library_->chosen.end()) {
    check(library_->run(queue, p, descriptors, p.y, at->second), "a product");
    return;
  }
  Product like = p;
  like.rows = int(std::bit_ceil(unsigned(p.rows)));
  const auto known = library_->measured.find(key_of(like));
  // An algorithm can be one that does not fit other numbers of rows: then the call says so.
  if (known != library_->measured.end() &&
      library_->run(queue, p, descriptors, p.y, known->second) == CUBLAS_STATUS_SUCCESS) {
    library_->chosen.emplace(key_of(p), known->second);
    return;
  }
  const cublasLtMatmulAlgo_t fastest = library_->fastest(queue, p, descriptors);
  library_->measured.insert_or_assign(key_of(like), fastest);
  library_->chosen.emplace(key_of(p), fastest);
  check(library_->run(queue, p, descriptors, p.y, fastest), "a product");
}

}  // namespace anser::cuda
