// A reader of the pickles that torch.save writes. It runs the pickle's small stack machine, but can
// build nothing except plain data and descriptions of tensors: a global name is looked up in a list
// of ours, and "calling" it runs code of ours. Anything else is an error.
//
// Memory stays below a small multiple of the pickle: values take 16 bytes, strings are views, and
// every value costs at least one byte of pickle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace anser {

enum class PickleKind : uint32_t {
  none,
  boolean,
  integer,
  real,
  string,  // bytes too
  tuple,   // tuple, list, dict: index of a container
  list,
  dict,
  global,   // index of a name in our list (pickle_globals.h)
  storage,  // index
  tensor,   // index
};

struct PickleValue {
  PickleKind kind = PickleKind::none;
  uint32_t length = 0;  // of a string
  union {
    int64_t integer = 0;
    double real;
    const char* text;
    size_t index;
  };

  std::string_view string() const { return {text, length}; }
};
static_assert(sizeof(PickleValue) == 16);

struct PickleStorage {
  DType type;
  bool untyped;          // `size` counts bytes, and the type comes with the tensor
  std::string_view key;  // the zip entry data/<key>
  int64_t size;          // elements
  std::string_view type_name;
};

struct PickleTensor {
  size_t storage;  // index
  DType type;
  int64_t offset;              // elements
  size_t shape, strides;       // containers, tuples of as many integers
  std::string_view type_name;  // as torch spells it: "float8_e4m3fn", "ComplexFloatStorage"
};

struct Pickle {
  PickleValue root;
  // Elements of tuples and lists; of dicts key, value, key, value, ...
  std::vector<std::vector<PickleValue>> containers;
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;
};

// A hundred times what the largest models have.
inline constexpr size_t kMaxTensors = 200'000;

// Strings of the result are views into `bytes`. Throws Error.
Pickle read_pickle(std::span<const std::byte> bytes, const std::string& path);

}  // namespace anser
