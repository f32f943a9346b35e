#include "formats/json.h"

#include "base/read_json.h"
#include "formats/checks.h"

namespace anser {

using Json = nlohmann::json;

namespace {

// Far beyond the lists of tensors and the vocabularies that there are.
constexpr size_t kMaxFileKeys = 1 << 20, kMaxFileValues = 1 << 23;

// The words put in quotes; all else as it is.
std::string quote_non_finite(std::string_view text) {
  constexpr std::string_view kWords[] = {"-Infinity", "Infinity", "NaN"};
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    if (in_string) {
      if (text[at] == '\\' && at + 1 < text.size()) length = 2;
    } else {
      for (const std::string_view word : kWords) {
        if (!text.substr(at).starts_with(word)) continue;
        out += '"';
        out += word;
        out += '"';
        at += word.size();
        length = 0;
        break;
      }
    }
    if (length == 1) in_string ^= text[at] == '"';
    out += text.substr(at, length);
    at += length;
  }
  return out;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what, size_t max_depth) {
  try {
    return read_json<Json>(text, {.depth = max_depth,
                                  .keys = kMaxFileKeys,
                                  .values = kMaxFileValues,
                                  .repeated_keys = false});
  } catch (const JsonFault& fault) {
    switch (fault.kind) {
      case JsonFault::Kind::repeated_key:
        fail(what, "the key {} stands there twice", printable(fault.key));
      case JsonFault::Kind::too_deep:
        fail(what, "nested more than {} deep", max_depth);
      case JsonFault::Kind::too_many_keys:
        fail(what, "an object has more than {} keys", kMaxFileKeys);
      case JsonFault::Kind::too_many_values:
        fail(what, "there are more than {} values", kMaxFileValues);
      case JsonFault::Kind::syntax:
        fail(what, "not valid JSON at byte {} (or not UTF-8). {}", fault.position, kFetchAgain);
    }
    throw;
  }
}

Json parse_python_json(std::string_view text, const std::string& what, size_t max_depth) {
  return parse_json(quote_non_finite(text), what, max_depth);
}

}  // namespace anser
