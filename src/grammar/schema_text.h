// A schema as it comes from outside, its properties in the order in which they were written.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "grammar/compile_budget.h"

namespace anser {

using Schema = nlohmann::ordered_json;

// Throws Error for what is not JSON, too long, nested too deep, or has a key twice.
Schema parse_schema(std::string_view text, CompileBudget& budget);

// What CompileBudget::spend() takes for a copy of it, or for a search among its keys.
size_t bytes_of_copy(const Schema& value);
size_t bytes_of_keys(const Schema& object);

// "#/a/b": what it points at in `root`. Throws Error that begins with `where`.
const Schema& resolve_reference(const Schema& root, const std::string& reference,
                                const std::string& where, CompileBudget& budget);

// Of an error: a kilobyte of it at the most.
std::string one_kilobyte(std::string_view text);

// `pointer` and one step more, escaped. Only errors show it: long steps are shown in part, and
// beyond some hundred bytes it ends with "/...".
std::string child_pointer(const std::string& pointer, std::string_view step);

}  // namespace anser
