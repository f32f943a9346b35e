// The text of a file that a person has written, by whatever editor.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// Without the byte order mark that editors of Windows put in front of UTF-8; all else is data.
// Throws Error naming `source` for UTF-16, which the same editors write.
std::string_view plain_text(std::string_view bytes, const std::string& source);

// The same with the line ends of Windows turned into plain ones, for what is read line by line or
// meant for a model.
std::string plain_lines(std::string_view bytes, const std::string& source);

}  // namespace anser
