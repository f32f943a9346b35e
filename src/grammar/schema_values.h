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

// Types of values, a bit each. Numbers are of two: those that are whole, as 1.0 is, and the others.
using Types = uint32_t;
constexpr Types kObject = 1, kArray = 2, kString = 4, kInteger = 8, kFraction = 16, kBoolean = 32,
                kNull = 64, kNumber = kInteger | kFraction, kAllTypes = 127;

// A type of our own, of numbers that are not whole.
inline constexpr std::string_view kFractionName = "\x01fraction";

Types type_of(const Schema& value);
// "object or string".
std::string names_of(Types types);

// What `schema`'s own type and nullable allow; all where it has no type.
Types schema_types(const Schema& schema, const std::string& pointer);
// What its other keywords speak of.
Types types_spoken_of(const Schema& schema);

// A text that is the same for equal values, and only for these: 1 and 1.0 are equal, and so are
// objects whose properties come in another order.
std::string canonical_text(const Schema& value);

// A value as it is written.
std::string written_text(const Schema& value);

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
