// JSON from files nobody vouches for.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace anser {

// Parses `text`, at most `max_depth` levels deep, every key of an object once. Throws Error that
// begins with `what`.
nlohmann::json parse_json(std::string_view text, const std::string& what, size_t max_depth = 64);

// The same for what Python's json module writes, which is more than JSON: NaN, Infinity and
// -Infinity become strings of these names.
nlohmann::json parse_python_json(std::string_view text, const std::string& what,
                                 size_t max_depth = 64);

}  // namespace anser
