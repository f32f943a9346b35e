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

}  // namespace anser
