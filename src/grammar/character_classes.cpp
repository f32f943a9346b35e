#include "grammar/character_classes.h"

#include <algorithm>
#include <utility>

#include "grammar/pattern_expression.h"

namespace anser {
namespace {

const Characters kDigit = {{'0', '9'}};
// Of all scripts; beyond the first plane rather too many.
const Characters kAnyDigit = {
    {'0', '9'},       {0x660, 0x669},   {0x6f0, 0x6f9},     {0x7c0, 0x7c9},    {0x966, 0x96f},
    {0x9e6, 0x9ef},   {0xa66, 0xa6f},   {0xae6, 0xaef},     {0xb66, 0xb6f},    {0xbe6, 0xbef},
    {0xc66, 0xc6f},   {0xce6, 0xcef},   {0xd66, 0xd6f},     {0xde6, 0xdef},    {0xe50, 0xe59},
    {0xed0, 0xed9},   {0xf20, 0xf29},   {0x1040, 0x1049},   {0x1090, 0x1099},  {0x17e0, 0x17e9},
    {0x1810, 0x1819}, {0x1946, 0x194f}, {0x19d0, 0x19d9},   {0x1a80, 0x1a89},  {0x1a90, 0x1a99},
    {0x1b50, 0x1b59}, {0x1bb0, 0x1bb9}, {0x1c40, 0x1c49},   {0x1c50, 0x1c59},  {0xa620, 0xa629},
    {0xa8d0, 0xa8d9}, {0xa900, 0xa909}, {0xa9d0, 0xa9d9},   {0xa9f0, 0xa9f9},  {0xaa50, 0xaa59},
    {0xabf0, 0xabf9}, {0xff10, 0xff19}, {0x104a0, 0x1efff}, {0x1fbf0, 0x1fbf9}};

const Characters kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
// What is beyond ASCII and no letter, digit, mark or joiner anywhere: signs, arrows, boxes, faces.
const Characters kNoWord = {
    {0x80, 0xa9},       {0xab, 0xb1},      {0xb4, 0xb4},     {0xb6, 0xb8},     {0xbb, 0xbb},
    {0xbf, 0xbf},       {0xd7, 0xd7},      {0xf7, 0xf7},     {0x2000, 0x200b}, {0x200e, 0x203e},
    {0x2041, 0x2053},   {0x2055, 0x2064},  {0x20a0, 0x20c0}, {0x2190, 0x2426}, {0x2500, 0x2775},
    {0x2794, 0x2bff},   {0x2e00, 0x2e2e},  {0x3000, 0x3004}, {0x3008, 0x3020}, {0x3030, 0x3030},
    {0xff01, 0xff0f},   {0xff1a, 0xff20},  {0xff3b, 0xff3e}, {0xff40, 0xff40}, {0xff5b, 0xff65},
    {0x1f000, 0x1f0ff}, {0x1f300, 0x1faff}};

const Characters kSpace = {{0x09, 0x0d},     {0x20, 0x20},     {0xa0, 0xa0},
                           {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029},
                           {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
const Characters kSpaceSomewhere = {{0x1c, 0x1f}, {0x85, 0x85}, {0x180e, 0x180e}, {0xfeff, 0xfeff}};

Characters together(Characters a, const Characters& b) {
  a.insert(a.end(), b.begin(), b.end());
  return tidy(std::move(a));
}

// Letters and digits of what is written most.
const Characters kUpper = {{'A', 'Z'},     {0xc0, 0xd6},   {0xd8, 0xde},
                           {0x391, 0x3a1}, {0x3a3, 0x3a9}, {0x410, 0x42f}};
const Characters kLower = {{'a', 'z'}, {0xdf, 0xf6}, {0xf8, 0xff}, {0x3b1, 0x3c9}, {0x430, 0x44f}};
const Characters kOtherLetters = {
    {0x3041, 0x3096}, {0x30a1, 0x30fa}, {0x4e00, 0x9fa5}, {0xac00, 0xd7a3}};
const Characters kPunctuation = {{'!', '#'}, {'%', '*'},       {',', '/'},      {':', ';'},
                                 {'?', '@'}, {'[', ']'},       {'_', '_'},      {'{', '{'},
                                 {'}', '}'}, {0x2010, 0x2027}, {0x3001, 0x3003}};
const Characters kSymbols = {{'$', '$'}, {'+', '+'}, {'<', '>'},       {'^', '^'},      {'`', '`'},
                             {'|', '|'}, {'~', '~'}, {0x20a0, 0x20bf}, {0x2190, 0x23ff}};
const Characters kSeparators = {{' ', ' '}, {0xa0, 0xa0}, {0x2000, 0x200a}, {0x3000, 0x3000}};
const Characters kFaces = {{0x1f600, 0x1f64f}, {0x1f680, 0x1f6c5}, {0x1f90d, 0x1f93a}};
const Characters kPartsOfEmoji = {{'#', '#'},       {'*', '*'},       {'0', '9'},
                                  {0x200d, 0x200d}, {0xfe0f, 0xfe0f}, {0x1f3fb, 0x1f3ff}};
const Characters kBeyondAscii = {{0x80, kLastCharacter}};

// Beyond ASCII everything may be of it.
CharacterClass at_least(const Characters& must) {
  return {must, together(must, kBeyondAscii)};
}

}  // namespace

Characters all_but(const Characters& ranges) {
  Characters others;
  uint32_t low = 0;
  for (const auto [first, last] : tidy(ranges)) {
    if (low < first) others.push_back({low, first - 1});
    low = last + 1;
  }
  if (low <= kLastCharacter) others.push_back({low, kLastCharacter});
  return others;
}

CharacterClass opposite(const CharacterClass& one) {
  return {all_but(one.may), all_but(one.must)};
}

std::optional<CharacterClass> class_of_letter(uint32_t letter) {
  switch (letter) {
    case 'd':
      return CharacterClass{kDigit, kAnyDigit};
    case 'w':
      return CharacterClass{kWord, together(kWord, all_but(together(kNoWord, {{0, 0x7f}})))};
    case 's':
      return CharacterClass{kSpace, together(kSpace, kSpaceSomewhere)};
    case 'D':
    case 'W':
    case 'S':
      return opposite(*class_of_letter(letter | 0x20));
    default:
      return std::nullopt;
  }
}

std::optional<CharacterClass> class_of_category(std::string_view name) {
  static const std::pair<std::string_view, Characters> kCategories[] = {
      {"L", together(together(kUpper, kLower), kOtherLetters)},
      {"Letter", together(together(kUpper, kLower), kOtherLetters)},
      {"Alphabetic", together(together(kUpper, kLower), kOtherLetters)},
      {"Lu", kUpper},
      {"Uppercase_Letter", kUpper},
      {"Ll", kLower},
      {"Lowercase_Letter", kLower},
      {"N", kDigit},
      {"Number", kDigit},
      {"Nd", kDigit},
      {"Decimal_Number", kDigit},
      {"P", kPunctuation},
      {"Punctuation", kPunctuation},
      {"S", kSymbols},
      {"Symbol", kSymbols},
      {"Z", kSeparators},
      {"Zs", kSeparators},
      {"Space_Separator", kSeparators},
      {"Extended_Pictographic", kFaces},
      {"Emoji_Presentation", kFaces},
      {"Emoji_Component", kPartsOfEmoji},
      {"Emoji", together(kFaces, {{'#', '#'}, {'*', '*'}, {'0', '9'}})}};
  for (const auto& [known, must] : kCategories) {
    if (known == name) return at_least(must);
  }
  return std::nullopt;
}

const CharacterClass& class_of_dot() {
  static const CharacterClass kDot = {
      all_but({{'\n', '\n'}, {'\r', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}}),
      all_but({{'\n', '\n'}})};
  return kDot;
}

}  // namespace anser
