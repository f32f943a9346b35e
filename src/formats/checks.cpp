#include "formats/checks.h"

#include <algorithm>
#include <unordered_set>

namespace anser {

std::string printable(std::string_view text) {
  constexpr size_t kShown = 80;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) {
    if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  out += text.size() > kShown ? "...'" : "'";
  return out;
}

bool valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto first = static_cast<unsigned char>(text[i++]);
    if (first < 0x80) continue;
    // The second byte's range rules out overlong forms, surrogates and what lies above U+10FFFF.
    int more = 0;
    unsigned low = 0x80, high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
      more = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
      more = 2;
      if (first == 0xe0) low = 0xa0;
      if (first == 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      more = 3;
      if (first == 0xf0) low = 0x90;
      if (first == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; more > 0; --more) {
      if (i == text.size()) return false;
      const auto next = static_cast<unsigned char>(text[i++]);
      if (next < low || next > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}

void check_tensor_name(const std::string& path, std::string_view name) {
  if (name.empty()) fail(path, "damaged: a tensor has an empty name");
  if (name.size() > kMaxNameBytes) {
    fail(path, "damaged: the tensor name {} has {} bytes; at most {} are accepted", printable(name),
         name.size(), kMaxNameBytes);
  }
  if (!valid_utf8(name)) fail(path, "damaged: the tensor name {} is not UTF-8", printable(name));
}

std::string shape_text(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

int64_t checked_elements(const std::string& path, std::string_view name,
                         std::span<const int64_t> shape) {
  if (shape.size() > kMaxRank) {
    fail(path, "tensor {} has {} dimensions; at most {} are accepted", printable(name),
         shape.size(), kMaxRank);
  }
  int64_t product = 1;
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0) {
      fail(path, "tensor {} has a negative dimension in its shape {}", printable(name),
           shape_text(shape));
    }
    if (dim == 0) {
      empty = true;
    } else if (dim > kMaxElements / product) {
      fail(path, "tensor {} has the shape {}, more elements than any file can hold",
           printable(name), shape_text(shape));
    } else {
      product *= dim;
    }
  }
  return empty ? 0 : product;
}

size_t checked_bytes(const std::string& path, std::string_view name, DType type,
                     std::span<const int64_t> shape) {
  const int64_t elements = checked_elements(path, name, shape);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % block_elements(type) != 0) {
    fail(path, "tensor {} of type {} has rows of {} elements; expected a multiple of {}",
         printable(name), dtype_name(type), row, block_elements(type));
  }
  return dtype_bytes(type, size_t(elements));
}

std::vector<int64_t> contiguous_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

void check_unique_names(const std::string& path, std::span<const FileTensor> tensors) {
  std::unordered_set<std::string_view> names;
  for (const FileTensor& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      fail(path, "damaged: two tensors have the name {}", printable(tensor.name));
    }
  }
}

void check_no_overlap(const std::string& path, std::vector<TensorRange> ranges) {
  std::erase_if(ranges, [](const TensorRange& range) { return range.begin == range.end; });
  std::sort(ranges.begin(), ranges.end(),
            [](const TensorRange& a, const TensorRange& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].begin < ranges[i - 1].end) {
      fail(path, "damaged: the bytes of the tensors {} and {} overlap",
           printable(ranges[i - 1].name), printable(ranges[i].name));
    }
  }
}

}  // namespace anser
