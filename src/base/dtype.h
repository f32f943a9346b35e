// The element types of weights, and how many bytes a run of elements takes.
//
// This header is read by the instruction-set files (src/cpu/isa), so it may hold nothing but plain
// declarations: an inline function here could be emitted as a weak symbol compiled for AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

namespace anser {

// The numbering is ours; file formats map their own ids to it. Values of 0 <= type < kMatrixTypes
// can be the type of a weight matrix in memory; the others only appear in files.
enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  q8_0,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q4_k,
  q5_k,
  q6_k,
  // Weights of these types are repacked as one of the types above when they are loaded; see
  // quant/repack.h.
  q2_k,
  q3_k,
  iq4_nl,
  iq4_xs,
  // Never computed with; a file may hold tensors of these types which the model does not need.
  f64,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean,
  unsupported,  // any other type; FileTensor::type_name() has its name
};
constexpr int kMatrixTypes = int(DType::q2_k);

// "F32", "Q4_K", ...: the names that safetensors and GGUF tools print.
const char* dtype_name(DType type);

// Quantised types store blocks of 32 or 256 elements; plain types are blocks of one.
int block_elements(DType type);
int block_bytes(DType type);

// Bytes of n consecutive elements. n must be a multiple of block_elements(type).
size_t dtype_bytes(DType type, size_t n);

}  // namespace anser
