// Weights on their way into a file: read as fp32 a piece at a time, checked, and stored in another
// type. No more than a few MB are in memory, whatever the size of the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anser/model.h"
#include "base/dtype.h"
#include "model/weights.h"

namespace anser {

struct SaveOptions {
  DType type = DType::f16;  // of the big matrices
  bool keep_plain = false;  // matrices of F32, F16 or BF16 keep their type (safetensors only)
  int threads = 1;
  // Bytes of weights written so far, and of all. May throw: then nothing is left of the file.
  std::function<void(size_t done, size_t all)> progress = {};
};

// One tensor of the file to be written.
struct SavedTensor {
  std::string name;
  DType type;
  std::vector<int64_t> shape;  // row-major

  // Where its rows come from: a matrix, if need be turned round (`transposed`: what is written is
  // [cols][rows]), or the numbers themselves.
  const Matrix* matrix = nullptr;
  bool transposed = false;
  Vector values;

  int64_t elements() const;
  size_t bytes() const { return dtype_bytes(type, size_t(elements())); }
};

// Gives the bytes of all tensors to `write`, in order, in pieces that belong to one tensor each.
// Throws Error naming the tensor and the element when one is not finite or too large for the type.
void write_tensors(std::span<const SavedTensor> tensors, const Model& model,
                   const SaveOptions& options,
                   const std::function<void(std::span<const std::byte>)>& write);

// Throws Error when the model has a group norm that no file format but Hugging Face's can state.
void check_group_norm(const Model& model);

}  // namespace anser
