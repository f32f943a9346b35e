#include "formats/pickle_globals.h"

#include <iterator>

namespace anser {
namespace {

constexpr PickleGlobal storage(std::string_view name, DType type) {
  return {"torch", name, GlobalKind::storage, type};
}

constexpr PickleGlobal dtype(std::string_view name, DType type) {
  return {"torch", name, GlobalKind::dtype, type};
}

constexpr PickleGlobal kGlobals[] = {
    {"collections", "OrderedDict", GlobalKind::ordered_dict},
    {"torch._utils", "_rebuild_tensor", GlobalKind::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v3", GlobalKind::rebuild_tensor_v3},
    {"torch._utils", "_rebuild_parameter", GlobalKind::parameter},
    {"torch._utils", "_rebuild_parameter_with_state", GlobalKind::parameter},
    {"torch.nn.parameter", "Parameter", GlobalKind::parameter},
    {"torch", "Size", GlobalKind::size},
    {"torch.storage", "UntypedStorage", GlobalKind::storage, DType::u8, true},
    {"torch", "UntypedStorage", GlobalKind::storage, DType::u8, true},
    storage("BFloat16Storage", DType::bf16),
    storage("HalfStorage", DType::f16),
    storage("FloatStorage", DType::f32),
    storage("DoubleStorage", DType::f64),
    storage("LongStorage", DType::i64),
    storage("IntStorage", DType::i32),
    storage("ShortStorage", DType::i16),
    storage("CharStorage", DType::i8),
    storage("ByteStorage", DType::u8),
    storage("BoolStorage", DType::boolean),
    storage("ComplexFloatStorage", DType::unsupported),
    storage("ComplexDoubleStorage", DType::unsupported),
    dtype("bfloat16", DType::bf16),
    dtype("float16", DType::f16),
    dtype("float32", DType::f32),
    dtype("float64", DType::f64),
    dtype("int64", DType::i64),
    dtype("int32", DType::i32),
    dtype("int16", DType::i16),
    dtype("int8", DType::i8),
    dtype("uint8", DType::u8),
    dtype("bool", DType::boolean),
    dtype("uint16", DType::unsupported),
    dtype("uint32", DType::unsupported),
    dtype("uint64", DType::unsupported),
    dtype("float8_e4m3fn", DType::unsupported),
    dtype("float8_e4m3fnuz", DType::unsupported),
    dtype("float8_e5m2", DType::unsupported),
    dtype("float8_e5m2fnuz", DType::unsupported),
    dtype("float8_e8m0fnu", DType::unsupported),
    dtype("float4_e2m1fn_x2", DType::unsupported),
    dtype("complex64", DType::unsupported),
    dtype("complex128", DType::unsupported),
};

}  // namespace

std::optional<size_t> find_pickle_global(std::string_view module, std::string_view name) {
  for (size_t i = 0; i < std::size(kGlobals); ++i) {
    if (kGlobals[i].module == module && kGlobals[i].name == name) return i;
  }
  return std::nullopt;
}

const PickleGlobal& pickle_global(size_t index) {
  return kGlobals[index];
}

}  // namespace anser
