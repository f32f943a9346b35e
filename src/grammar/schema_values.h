// The values of a schema's keywords, read and checked. All throw Error that names the place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/schema_text.h"

namespace anser {

[[noreturn]] void fail_at(const std::string& pointer, const std::string& what);

bool is_type(const Schema& value, std::string_view type);

// What `schema` allows, sorted, each once. Where no type is given: what the other keywords speak
// of.
std::vector<std::string> schema_types(const Schema& schema, const std::string& pointer);

// False where it is absent.
bool schema_flag(const Schema& schema, const char* keyword, const std::string& pointer);

std::optional<uint32_t> schema_count(const Schema& schema, const char* keyword,
                                     const std::string& pointer);

struct Counts {
  uint32_t least, most;  // most may be kUnlimited
  bool limited() const { return least > 0 || most != kUnlimited; }
};
Counts schema_counts(const Schema& schema, const char* least, const char* most,
                     const std::string& pointer);

}  // namespace anser
