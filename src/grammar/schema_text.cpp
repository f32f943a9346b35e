#include "grammar/schema_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"
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

Schema parse_schema(std::string_view text) {
  if (text.size() > kMaxBytes) {
    throw Error(
        fmt::format("the schema has {} bytes, expected at most {}", text.size(), kMaxBytes));
  }
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
                                const std::string& where) {
  if (reference != "#" && !reference.starts_with("#/")) {
    throw Error(
        fmt::format("{}: the reference '{}' is outside the schema or an anchor. Expected '#' or "
                    "'#/...', for example '#/$defs/item'",
                    where, reference));
  }
  const Schema* at = &root;
  for (size_t begin = 2; begin <= reference.size() && reference != "#";) {
    const size_t end = std::min(reference.find('/', begin), reference.size());
    at = find_step(*at, unescape_step(std::string_view(reference).substr(begin, end - begin)));
    if (at == nullptr) {
      throw Error(fmt::format("{}: the reference '{}' points at nothing", where, reference));
    }
    begin = end + 1;
  }
  return *at;
}

std::string child_pointer(const std::string& pointer, std::string_view step) {
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
