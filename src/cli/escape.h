// Bytes on one line of text.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// Printable text as it is; \n \t \r \\ as such; other control bytes, and bytes that are not valid
// UTF-8, as \xNN. Reversible.
std::string escape_bytes(std::string_view bytes);

}  // namespace anser
