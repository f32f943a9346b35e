// The form in which G1 models from G1c on were taught to fill a gap in a text.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// What ends the filling, besides the end of the text: U+273F.
inline constexpr const char* kFillStop = "\u273f";

// `before` and `after` the gap. The model goes on with what is in it.
std::string fill_in_the_middle(std::string_view before, std::string_view after);

}  // namespace anser
