// The names that a checkpoint's pickle may mention. Nothing else is looked up, ever.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace anser {

enum class GlobalKind {
  ordered_dict,       // called: a dict
  rebuild_tensor,     // called with (storage, offset, shape, strides, ...): a tensor
  rebuild_tensor_v3,  // the same, with the type as the seventh argument
  parameter,          // called with (tensor, ...): that tensor
  size,               // torch.Size, called with (tuple): that tuple
  storage,            // a storage's class; names its element type
  dtype,              // torch.float32 and so on
};

struct PickleGlobal {
  std::string_view module, name;
  GlobalKind kind;
  DType type = DType::unsupported;
  bool untyped = false;
};

// Index into the list, or nothing when the name is not on it.
std::optional<size_t> find_pickle_global(std::string_view module, std::string_view name);
const PickleGlobal& pickle_global(size_t index);

}  // namespace anser
