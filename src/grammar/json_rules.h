// What every JSON text is made of, as rules.
//
// There is no white space: what a text need not have costs tokens, and a model that likes to lay
// texts out would spend its limit on it.
// Numbers have at most 18 digits before the point, 18 behind it, and two in the exponent: they end,
// an integer fits into 64 bits, and none overflows a double.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/grammar.h"

namespace anser {

// Ranges of characters, low to high, both included.
struct CharacterRange {
  uint32_t low, high;
};
using Characters = std::vector<CharacterRange>;
inline constexpr uint32_t kLastCharacter = 0x10ffff;

class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder& builder) : builder_(builder) {}

  // Each is made when it is first asked for.
  RuleId any();      // any value
  RuleId object();   // any object
  RuleId array();    // any list
  RuleId string();   // any string, with all escapes
  RuleId number();   // with a fraction and an exponent
  RuleId integer();  // without

  // One character within a string, in the one way that nlohmann's dump(), too, would write it:
  // escaped where it must be, else as it is.
  void add_plain(StateId from, const Characters& characters, StateId to);
  // One character in any way: also \/ and \u with four digits, of surrogates a whole pair.
  void add_character(StateId from, StateId to);
  // One of these texts.
  void add_choice(StateId from, std::span<const std::string> texts, StateId to);
  // The rest of a name behind its opening quote, which is none of `taken`, and the closing quote.
  // It is written plainly, so that no escape can make it one of them.
  void add_other_name(StateId from, std::span<const std::string> taken, StateId to);

 private:
  RuleId once(std::optional<RuleId>& rule, void (JsonRules::*fill)(RuleId));
  void fill_any(RuleId rule);
  void fill_object(RuleId rule);
  void fill_array(RuleId rule);
  void fill_string(RuleId rule);
  void fill_number(RuleId rule);
  void fill_integer(RuleId rule);
  StateId add_whole_part(StateId from, RuleId rule);
  StateId add_digits(StateId from, int most, RuleId rule, StateId end);

  GrammarBuilder& builder_;
  std::optional<RuleId> any_, object_, array_, string_, number_, integer_;
};

// A string's text between its quotes, as add_plain writes it.
std::string json_inside(std::string_view text);

}  // namespace anser
