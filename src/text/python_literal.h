// Python string and bytes literals, as vocabulary files hold them.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// Appends the bytes that a literal stands for: '...' and "..." are Unicode, stored as UTF-8; b'...'
// and b"..." are raw bytes. So '\x80' is the two bytes of U+0080 and b'\x80' is one byte.
//
// Stricter than Python in one point: an escape that Python does not know, which it would keep as
// backslash and letter, is an error, and so is \N{name}. Returns null, or what is wrong with it.
const char* parse_python_literal(std::string_view literal, std::string& bytes);

// The value of 0-9 a-f A-F, -1 for other characters.
int hex_digit(char c);

}  // namespace anser
