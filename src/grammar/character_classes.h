// What the classes of patterns stand for, where dialects differ.
//
// ECMAScript's \d, \w and \s are of ASCII, more or less; Python's and Rust's are of all scripts.
// What is written must match in each of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "grammar/json_rules.h"

namespace anser {

struct CharacterClass {
  Characters must;  // that match in every dialect
  Characters may;   // that match in some
};

Characters all_but(const Characters& ranges);
CharacterClass opposite(const CharacterClass& one);
inline CharacterClass exactly(Characters characters) {
  return {characters, characters};
}

// Of \d \D \w \W \s \S; nothing for another letter.
std::optional<CharacterClass> class_of_letter(uint32_t letter);
// Of a general category of Unicode, as \p{L} names it: L, Lu, Ll, N, Nd, P, S, Z and their long
// names; and of emoji. Of those beyond Latin, Greek, Cyrillic and what East Asia writes, only `may`
// knows.
std::optional<CharacterClass> class_of_category(std::string_view name);
// Of "."
const CharacterClass& class_of_dot();

}  // namespace anser
