// What every reader checks: shapes, byte ranges, names; and how it complains.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "anser/error.h"
#include "base/dtype.h"
#include "formats/tensor_file.h"

namespace anser {

inline constexpr const char* kFetchAgain =
    "Compare its size with the one its source states, and fetch it again.";

// Throws Error "<path>: <text>".
template <typename... Args>
[[noreturn]] void fail(const std::string& path, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format("{}: {}", path, fmt::format(text, std::forward<Args>(args)...)));
}

// A string out of a file, quoted for a message: control and non-ASCII bytes escaped (they could
// steer a terminal), long strings cut short.
std::string printable(std::string_view text);

bool valid_utf8(std::string_view text);

// Throws when `name` is empty, longer than kMaxNameBytes or no UTF-8.
inline constexpr size_t kMaxNameBytes = 256;
void check_tensor_name(const std::string& path, std::string_view name);

// PyTorch, NumPy and GGUF files of language models hold up to 4 dimensions; 8 leaves room.
inline constexpr size_t kMaxRank = 8;

// Number of elements. Throws when the rank exceeds kMaxRank, a dimension is negative or the product
// of the dimensions, zeros left out, exceeds kMaxElements. With that no stride and no byte count
// (at most 8 bytes an element) can overflow later.
inline constexpr int64_t kMaxElements = int64_t{1} << 48;
int64_t checked_elements(const std::string& path, std::string_view name,
                         std::span<const int64_t> shape);

// checked_elements, and the bytes of a contiguous tensor. Throws when a row of a quantised type is
// no whole number of blocks. Zero for DType::unsupported.
size_t checked_bytes(const std::string& path, std::string_view name, DType type,
                     std::span<const int64_t> shape);

// Of a shape that passed checked_elements.
std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape);
std::string shape_text(std::span<const int64_t> shape);

// Throws when two tensors have the same name.
void check_unique_names(const std::string& path, std::span<const FileTensor> tensors);

// Throws when two of the ranges have a byte in common. Empty ranges have none.
struct TensorRange {
  size_t begin, end;  // bytes
  std::string_view name;
};
void check_no_overlap(const std::string& path, std::vector<TensorRange> ranges);

}  // namespace anser
