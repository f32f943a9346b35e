// The ids of stored states: 26 characters of 0-9 and a-z without i, l, o and u, drawn from 130
// random bits. Nobody can guess one, and it can stand in a URL and be the name of a file.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// From the system's random numbers. Throws Error where there are none.
std::string new_state_id();

// Whether the text has the form of an id. Every id that comes from outside is looked at with this
// before it becomes part of a path.
bool is_state_id(std::string_view text);

}  // namespace anser
