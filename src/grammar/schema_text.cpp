#include "grammar/schema_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"
#include "base/cut_text.h"
#include "base/read_json.h"
#include "text/vocabulary.h"

namespace anser {
namespace {

constexpr size_t kMaxBytes = 256 << 10, kMaxDepth = 64, kMaxKeys = 4096;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
  return -1;
}

// One step of a JSON pointer in a URI: %XX, then ~1 for / and ~0 for ~.
std::string unescape_step(std::string_view step) {
  std::string bytes;
  for (size_t i = 0; i < step.size(); ++i) {
    const bool coded = step[i] == '%' && i + 2 < step.size() && hex_digit(step[i + 1]) >= 0 &&
                       hex_digit(step[i + 2]) >= 0;
    bytes += coded ? char(hex_digit(step[i + 1]) * 16 + hex_digit(step[i + 2])) : step[i];
    if (coded) i += 2;
  }
  std::string name;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char next = i + 1 < bytes.size() ? bytes[i + 1] : '\0';
    const bool coded = bytes[i] == '~' && (next == '0' || next == '1');
    name += coded ? (next == '0' ? '~' : '/') : bytes[i];
    if (coded) ++i;
  }
  return name;
}

const Schema* find_step(const Schema& at, const std::string& step) {
  if (at.is_object()) {
    const auto found = at.find(step);
    return found == at.end() ? nullptr : &*found;
  }
  if (!at.is_array() || step.empty() || step.size() > 6) return nullptr;
  size_t index = 0;
  for (const char c : step) {
    if (c < '0' || c > '9') return nullptr;
    index = index * 10 + size_t(c - '0');
  }
  return index < at.size() ? &at[index] : nullptr;
}

}  // namespace

Schema parse_schema(std::string_view text, CompileBudget& budget) {
  if (text.size() > kMaxBytes) {
    throw Error(
        fmt::format("the schema has {} bytes, expected at most {}", text.size(), kMaxBytes));
  }
  budget.spend(text.size());
  try {
    return read_json<Schema>(text, {.depth = kMaxDepth, .keys = kMaxKeys, .repeated_keys = false});
  } catch (const JsonFault& fault) {
    switch (fault.kind) {
      case JsonFault::Kind::repeated_key:
        throw Error(
            fmt::format("the schema has the key {} twice in one object", anser::quoted(fault.key)));
      case JsonFault::Kind::too_many_keys:
        throw Error(fmt::format("the schema has an object of more than {} keys", kMaxKeys));
      case JsonFault::Kind::too_many_values:  // which so few bytes cannot hold
      case JsonFault::Kind::too_deep:
        throw Error(fmt::format("the schema is nested more than {} deep", kMaxDepth));
      case JsonFault::Kind::syntax:
        throw Error(fmt::format("the schema is not valid JSON at byte {}", fault.position));
    }
    throw;
  }
}

const Schema& resolve_reference(const Schema& root, const std::string& reference,
                                const std::string& where, CompileBudget& budget) {
  if (reference != "#" && !reference.starts_with("#/")) {
    throw Error(
        fmt::format("{}: the reference '{}' is outside the schema or an anchor. Expected '#' or "
                    "'#/...', for example '#/$defs/item'",
                    where, cut_text(reference)));
  }
  const Schema* at = &root;
  for (size_t begin = 2; begin <= reference.size() && reference != "#";) {
    const size_t end = std::min(reference.find('/', begin), reference.size());
    budget.spend(bytes_of_keys(*at) + end - begin);
    at = find_step(*at, unescape_step(std::string_view(reference).substr(begin, end - begin)));
    if (at == nullptr) {
      throw Error(
          fmt::format("{}: the reference '{}' points at nothing", where, cut_text(reference)));
    }
    begin = end + 1;
  }
  return *at;
}

size_t bytes_of_keys(const Schema& object) {
  return object.is_object() ? 16 * object.size() : 0;
}

size_t bytes_of_copy(const Schema& value) {
  size_t bytes = 16;
  if (value.is_string()) bytes += value.get_ref<const std::string&>().size();
  if (value.is_array()) {
    for (const Schema& part : value) bytes += bytes_of_copy(part);
  }
  if (value.is_object()) {
    for (const auto& [key, part] : value.items()) bytes += key.size() + bytes_of_copy(part);
  }
  return bytes;
}

namespace {

// Without a part of a character at its end.
std::string_view beginning(std::string_view text, size_t bytes) {
  while (bytes > 0 && bytes < text.size() && (uint8_t(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace

std::string one_kilobyte(std::string_view text) {
  constexpr size_t kMost = 1024;
  if (text.size() <= kMost) return std::string(text);
  return std::string(beginning(text, kMost - 3)) + "...";
}

std::string child_pointer(const std::string& pointer, std::string_view step) {
  constexpr size_t kMaxPointer = 300;
  if (pointer.ends_with("/...")) return pointer;
  if (pointer.size() > kMaxPointer) return pointer + "/...";
  const std::string short_step = cut_text(step);
  step = short_step;
  std::string path = pointer + '/';
  for (const char c : step) {
    if (c == '~') {
      path += "~0";
    } else if (c == '/') {
      path += "~1";
    } else {
      path += c;
    }
  }
  return path;
}

}  // namespace anser
