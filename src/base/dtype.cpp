#include "base/dtype.h"

#include "base/check.h"

namespace anser {
namespace {

struct Layout {
  const char* name;
  int elements;  // per block
  int bytes;     // per block
};

// Indexed by DType. Block sizes of the quantised types: reference of ggml, see model/blocks.h
// and quant/repacked_blocks.h.
constexpr Layout kLayouts[] = {
    {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},        {"Q8_0", 32, 34},
    {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},      {"Q5_1", 32, 24},
    {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},    {"Q2_K", 256, 84},
    {"Q3_K", 256, 110}, {"IQ4_NL", 32, 18}, {"IQ4_XS", 256, 136},  {"F64", 1, 8},
    {"I64", 1, 8},      {"I32", 1, 4},      {"I16", 1, 2},         {"I8", 1, 1},
    {"U8", 1, 1},       {"BOOL", 1, 1},     {"unsupported", 1, 0},
};
static_assert(sizeof(kLayouts) / sizeof(kLayouts[0]) == size_t(DType::unsupported) + 1);

}  // namespace

const char* dtype_name(DType type) {
  return kLayouts[int(type)].name;
}
int block_elements(DType type) {
  return kLayouts[int(type)].elements;
}
int block_bytes(DType type) {
  return kLayouts[int(type)].bytes;
}

size_t dtype_bytes(DType type, size_t n) {
  const Layout& layout = kLayouts[int(type)];
  ANSER_CHECK(n % layout.elements == 0);
  return n / layout.elements * layout.bytes;
}

}  // namespace anser
