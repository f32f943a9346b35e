// Checkpoint -> Weights: every tensor of the list is looked up, checked and viewed or widened.
#pragma once

#include <list>
#include <string>
#include <vector>

#include "anser/model.h"
#include "model/checkpoint.h"
#include "model/weights.h"

namespace anser {

// Copies of the few tensors that cannot be viewed in place (odd strides).
using OwnedBytes = std::list<std::vector<std::byte>>;

// Throws Error naming the tensor, the expected and the found shape or type, or the first element
// that is not finite. (Vectors are checked here; matrices, which are not read now, when a result
// turns out not to be finite.)
Weights load_weights(const Checkpoint& checkpoint, const Hyperparameters& h,
                     const std::string& path, OwnedBytes& owned);

// The first element of any matrix that is not finite, as "tensor blocks.0.att.key.weight: NaN at
// [3, 17]"; empty when all are finite. Reads all weights.
std::string find_not_finite(const Weights& weights, const Hyperparameters& h);

// Throws the Error of a result that is not finite after so many tokens: names the weight that is to
// blame where there is one. Reads all weights.
[[noreturn]] void fail_not_finite(const Model& model, uint64_t tokens);

// "NaN" or "infinity".
const char* not_finite_name(float x);

// Of single tensors. The first two throw Error: unless anser computes with the type, and for a
// shape that is not the expected one.
void expect_type(const FileTensor& tensor, const std::string& path);
[[noreturn]] void wrong_shape(const FileTensor& tensor, const std::string& expected,
                              const std::string& path);
// The elements in row-major order, fp32.
Vector widen(const FileTensor& tensor);

// A `time_state` [H][N][N] to our layout (row = value, column = key), fp32, at `to`.
void load_time_state(const FileTensor& tensor, const Hyperparameters& h, bool transposed,
                     const std::string& path, float* to);

}  // namespace anser
