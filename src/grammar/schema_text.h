// A schema as it comes from outside, its properties in the order in which they were written.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace anser {

using Schema = nlohmann::ordered_json;

// Throws Error for what is not JSON, too long, nested too deep, or has a key twice.
Schema parse_schema(std::string_view text);

// "#/a/b": what it points at in `root`. Throws Error that begins with `where`.
const Schema& resolve_reference(const Schema& root, const std::string& reference,
                                const std::string& where);

// `pointer` and one step more, escaped.
std::string child_pointer(const std::string& pointer, std::string_view step);

}  // namespace anser
