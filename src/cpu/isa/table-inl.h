// The kernels' texts in order, and the table made of them. Included by each instruction set inside
// a nameless namespace, after its registers (simd_<name>.h).

// clang-format off
#include "cpu/isa/packing-inl.h"
#include "cpu/isa/simd-inl.h"
#include "cpu/isa/math-inl.h"
#include "cpu/isa/vector-inl.h"
#include "cpu/isa/unpack-inl.h"
#include "cpu/isa/inputs-inl.h"
#include ANSER_INTEGERS
#include "cpu/isa/matmul_parts-inl.h"
#include "cpu/isa/matmul_plain-inl.h"
#include "cpu/isa/matmul_quantised-inl.h"
#include "cpu/isa/matmul-inl.h"
#include "cpu/isa/recur-inl.h"
#include "cpu/isa/sampling-inl.h"
// clang-format on

template <class W>
constexpr void set_type(Kernels& table, DType type) {
  table.matmul[int(type)] = matmul<W>;
  table.widen[int(type)] = widen<W>;
}

constexpr Kernels make_table(const char* name, bool fused_multiply_add) {
  Kernels table = {};
  table.name = name;
  table.fused_multiply_add = fused_multiply_add;
  set_type<WeightsF32>(table, DType::f32);
  set_type<WeightsF16>(table, DType::f16);
  set_type<WeightsBf16>(table, DType::bf16);
  set_type<WeightsQ8_0>(table, DType::q8_0);
  set_type<WeightsQ4_0>(table, DType::q4_0);
  set_type<WeightsQ4_1>(table, DType::q4_1);
  set_type<WeightsQ5_0>(table, DType::q5_0);
  set_type<WeightsQ5_1>(table, DType::q5_1);
  set_type<WeightsQ4K>(table, DType::q4_k);
  set_type<WeightsQ5K>(table, DType::q5_k);
  set_type<WeightsQ6K>(table, DType::q6_k);
  table.activation_bytes = int(sizeof(Activation));
  table.quantise = quantise;
  table.count_zeros = count_zeros;
  table.layer_norm = layer_norm;
  table.moments = moments;
  table.normalise = normalise;
  table.shift_mix = shift_mix;
  table.recur = recur;
  table.all_finite = all_finite;
  table.apply = apply;
  table.largest = largest;
  table.weigh = weigh;
  table.list_above = list_above;
  table.weigh_exactly = weigh_exactly;
  return table;
}
