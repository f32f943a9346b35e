// Quantised types that files have and the kernels do not: their blocks are rewritten, when a model
// is loaded, as blocks of a type that the kernels know.
//
//   Q3_K   -> Q6_K  the same numbers: it has the same d and sub-blocks, with smaller scales
//   IQ4_NL -> Q8_0  the same numbers: the levels are whole numbers of 8 bits
//   Q2_K   -> F16   no type of ours has such blocks: each weight is rounded to the nearest F16,
//   IQ4_XS -> F16   which changes it by at most 2^-11 of itself
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace anser {

bool is_repacked(DType type);

// What a type for which is_repacked() holds becomes, and whether that loses nothing.
DType repacked_type(DType type);
bool repacks_exactly(DType type);

// n elements, a multiple of block_elements(from_type), to repacked_type(from_type) or to F32, which
// holds the numbers of all of them as any program computes them in single precision.
//
// Every weight is a whole multiple of 2^-24, as its F16 factor d is, so what lies below the normal
// numbers of F16 is exact there. Returns false when a finite weight is too large for F16: the
// tensor has to become F32. Infinities and NaN stay what they are.
[[nodiscard]] bool repack(DType from_type, const std::byte* from, int64_t n, DType to_type,
                          std::byte* to);

}  // namespace anser
