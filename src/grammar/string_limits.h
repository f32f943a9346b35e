// What a schema says about a string: length, patterns and formats, in one place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/schema_text.h"

namespace anser {

struct StringLimits {
  uint32_t least = 0, most = kUnlimited;   // characters
  std::vector<std::string> patterns = {};  // as the schema gives them
  std::vector<std::string> formats = {};   // the patterns of formats and encodings
  std::vector<std::string> wider = {};     // of each of these, see StringFormat; mostly the same

  bool any() const { return least > 0 || most != kUnlimited || has_patterns(); }
  bool has_patterns() const { return !patterns.empty() || !formats.empty(); }
};

// Of the keywords of an object, and of those that were merged into it. Throws Error that names the
// place.
StringLimits string_limits(const Schema& schema, const std::string& pointer);

}  // namespace anser
