// Checkpoint -> Weights: every tensor of the list is looked up, checked and viewed or widened.
#pragma once

#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "anser/model.h"
#include "model/checkpoint.h"
#include "model/weights.h"

namespace anser {

// The tensors that cannot be viewed in place: those of odd strides, and of types that are repacked.
using OwnedBytes = std::list<std::unique_ptr<std::byte[]>>;

// Throws Error naming the tensor, the expected and the found shape or type, or the first element
// that is not finite. (Vectors are checked here; matrices, which are not read now, when a result
// turns out not to be finite.)
//
// Matrices of types that the kernels do not know are repacked by all cores (quant/repack.h); as F32
// with `exact`, where F16 would round. Those named in `as_stored`, by original name, stay as the
// file has them, for whoever makes others of them at once (merge_adapters.h). `notes` gets a
// sentence about that, and one about tensors that are not used.
Weights load_weights(const Checkpoint& checkpoint, const Hyperparameters& h,
                     const std::string& path, bool exact, const std::set<std::string>& as_stored,
                     OwnedBytes& owned, std::vector<std::string>& notes);

// The first element of any matrix that is not finite, as "tensor blocks.0.att.key.weight: NaN at
// [3, 17]"; empty when all are finite. Reads all weights.
std::string find_not_finite(const Weights& weights, const Hyperparameters& h);

// Throws Error that names the first element of a low-rank matrix that is not finite. Behind these
// stand functions that make a number of an infinity, so no result would tell.
void check_low_rank_finite(const Model& model);

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

}  // namespace anser
