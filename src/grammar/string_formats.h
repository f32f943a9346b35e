// What "format", "contentEncoding" and "contentMediaType" say about a string.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "grammar/grammar.h"

namespace anser {

// The pattern of texts that are written for a format: each satisfies those who check the format,
// not each that satisfies them is among these.
struct StringFormat {
  std::string pattern;
  // What checkers accept, too, or other standards have: for a schema whose own pattern leaves
  // nothing else, as Zod's times without an offset. Mostly empty.
  std::string wider;
  uint32_t most = kUnlimited;  // characters
};

// A format of our own: "uri" of http and https only. A uri of at most 2083 characters is what
// Pydantic's HttpUrl writes into a schema, and it reads no other schemes.
inline constexpr std::string_view kWebUri = "uri of the web";
inline constexpr uint32_t kLongestWebUri = 2083;

// Nothing for a format that says nothing.
std::optional<StringFormat> string_format(std::string_view name);

// Of contentEncoding (base64 and base64url) and contentMediaType (application/json).
std::optional<StringFormat> content_encoding(std::string_view name);
std::optional<StringFormat> content_media_type(std::string_view name);

}  // namespace anser
