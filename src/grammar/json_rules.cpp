#include "grammar/json_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "text/utf8.h"

namespace anser {
namespace {

constexpr int kDigits = 18;

// Characters that have a short escape.
constexpr std::pair<char, char> kShort[] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                            {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};

}  // namespace

std::string json_inside(std::string_view text) {
  const std::string quoted = nlohmann::json(std::string(text)).dump();
  return quoted.substr(1, quoted.size() - 2);
}

RuleId JsonRules::once(std::optional<RuleId>& rule, void (JsonRules::*fill)(RuleId)) {
  if (!rule) {
    rule = builder_.add_rule();
    (this->*fill)(*rule);
  }
  return *rule;
}

RuleId JsonRules::any() {
  return once(any_, &JsonRules::fill_any);
}
RuleId JsonRules::object() {
  return once(object_, &JsonRules::fill_object);
}
RuleId JsonRules::array() {
  return once(array_, &JsonRules::fill_array);
}
RuleId JsonRules::string() {
  return once(string_, &JsonRules::fill_string);
}
RuleId JsonRules::number() {
  return once(number_, &JsonRules::fill_number);
}
RuleId JsonRules::integer() {
  return once(integer_, &JsonRules::fill_integer);
}

void JsonRules::fill_any(RuleId rule) {
  const StateId start = builder_.start(rule), end = builder_.add_state(rule);
  builder_.finish_at(end);
  for (const RuleId kind : {object(), array(), string(), number()}) {
    builder_.add_call(start, kind, end);
  }
  for (const char* word : {"true", "false", "null"}) builder_.add_text(start, word, end);
}

void JsonRules::fill_object(RuleId rule) {
  const StateId start = builder_.start(rule), first = builder_.add_state(rule),
                name = builder_.add_state(rule), colon = builder_.add_state(rule),
                value = builder_.add_state(rule), after = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(start, "{", first);
  builder_.add_text(first, "}", end);
  builder_.add_jump(first, name);
  builder_.add_call(name, string(), colon);
  builder_.add_text(colon, ":", value);
  builder_.add_call(value, any(), after);
  builder_.add_text(after, ",", name);
  builder_.add_text(after, "}", end);
}

void JsonRules::fill_array(RuleId rule) {
  const StateId start = builder_.start(rule), first = builder_.add_state(rule),
                value = builder_.add_state(rule), after = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(start, "[", first);
  builder_.add_text(first, "]", end);
  builder_.add_jump(first, value);
  builder_.add_call(value, any(), after);
  builder_.add_text(after, ",", value);
  builder_.add_text(after, "]", end);
}

void JsonRules::fill_string(RuleId rule) {
  const StateId start = builder_.start(rule), inside = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(start, "\"", inside);
  add_character(inside, inside);
  builder_.add_text(inside, "\"", end);
}

// Up to `most` digits, none at least; `end` may follow each.
StateId JsonRules::add_digits(StateId from, int most, RuleId rule, StateId end) {
  for (int i = 0; i < most; ++i) {
    builder_.add_jump(from, end);
    const StateId next = builder_.add_state(rule);
    builder_.add_bytes(from, '0', '9', next);
    from = next;
  }
  builder_.add_jump(from, end);
  return end;
}

// -?(0|[1-9][0-9]*)
StateId JsonRules::add_whole_part(StateId from, RuleId rule) {
  const StateId digits = builder_.add_state(rule), more = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.add_text(from, "-", digits);
  builder_.add_jump(from, digits);
  builder_.add_text(digits, "0", end);
  builder_.add_bytes(digits, '1', '9', more);
  return add_digits(more, kDigits - 1, rule, end);
}

void JsonRules::fill_integer(RuleId rule) {
  builder_.finish_at(add_whole_part(builder_.start(rule), rule));
}

void JsonRules::fill_number(RuleId rule) {
  const StateId whole = add_whole_part(builder_.start(rule), rule);
  const StateId end = builder_.add_state(rule), exponent = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_jump(whole, exponent);

  const StateId point = builder_.add_state(rule), fraction = builder_.add_state(rule);
  builder_.add_text(whole, ".", point);
  builder_.add_bytes(point, '0', '9', fraction);
  add_digits(fraction, kDigits - 1, rule, exponent);

  builder_.add_jump(exponent, end);
  const StateId sign = builder_.add_state(rule), first = builder_.add_state(rule),
                second = builder_.add_state(rule);
  for (const char* e : {"e", "E"}) builder_.add_text(exponent, e, sign);
  for (const char* s : {"", "+", "-"}) builder_.add_text(sign, s, first);
  builder_.add_bytes(first, '0', '9', second);
  add_digits(second, 1, rule, end);
}

void JsonRules::add_plain(StateId from, const Characters& characters, StateId to) {
  std::vector<std::string> escapes;
  GrammarBuilder::SharedBytes shared;
  for (const auto [low, high] : characters) {
    for (const auto& [character, letter] : kShort) {
      if (low <= uint32_t(character) && uint32_t(character) <= high) {
        escapes.push_back({'\\', letter});
      }
    }
    for (uint32_t c = low; c < 0x20 && c <= high; ++c) {
      const bool is_short =
          std::ranges::any_of(kShort, [&](const auto& s) { return uint32_t(s.first) == c; });
      if (!is_short) escapes.push_back(fmt::format("\\u{:04x}", c));
    }
    // What stands for itself.
    static constexpr CharacterRange kItself[] = {
        {0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kLastCharacter}};
    for (const auto itself : kItself) {
      const uint32_t first = std::max(low, itself.low), last = std::min(high, itself.high);
      if (first <= last) builder_.add_characters(from, first, last, to, shared);
    }
  }
  add_choice(from, escapes, to);
}

void JsonRules::add_character(StateId from, StateId to) {
  add_plain(from, {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kLastCharacter}}, to);

  const auto state = [&] { return builder_.add_state(builder_.rule_of(from)); };
  const auto add_hex = [&](StateId at, std::string_view digits, StateId next) {
    for (const char digit : digits) builder_.add_bytes(at, uint8_t(digit), uint8_t(digit), next);
  };
  const auto add_any_hex = [&](StateId at, StateId next) {
    builder_.add_bytes(at, '0', '9', next);
    builder_.add_bytes(at, 'A', 'F', next);
    builder_.add_bytes(at, 'a', 'f', next);
  };
  const StateId escape = state(), four = state(), three = state(), two = state(), one = state();
  builder_.add_text(from, "\\", escape);
  for (const char letter : std::string_view("\"\\/bfnrt")) {
    builder_.add_bytes(escape, uint8_t(letter), uint8_t(letter), to);
  }
  builder_.add_text(escape, "u", four);
  builder_.add_bytes(four, '0', '9', three);
  add_hex(four, "ABCEFabcef", three);
  add_any_hex(three, two);
  add_any_hex(two, one);
  add_any_hex(one, to);

  // D000 to D7FF is a character; D800 to DBFF must be followed by \uDC00 to \uDFFF.
  const StateId d = state(), high_two = state(), high_one = state(), low = state(), low_d = state(),
                low_three = state();
  add_hex(four, "Dd", d);
  builder_.add_bytes(d, '0', '7', two);
  add_hex(d, "89ABab", high_two);
  add_any_hex(high_two, high_one);
  add_any_hex(high_one, low);
  builder_.add_text(low, "\\u", low_d);
  add_hex(low_d, "Dd", low_three);
  add_hex(low_three, "CDEFcdef", two);
}

void JsonRules::add_choice(StateId from, std::span<const std::string> texts, StateId to) {
  // As a tree, so that thousands of texts stay one stack.
  std::map<std::pair<StateId, uint8_t>, StateId> children;
  for (const std::string& text : texts) {
    StateId at = from;
    for (const char c : text) {
      const auto [child, is_new] = children.try_emplace({at, uint8_t(c)}, 0);
      if (is_new) {
        child->second = builder_.add_state(builder_.rule_of(from));
        builder_.add_bytes(at, uint8_t(c), uint8_t(c), child->second);
      }
      at = child->second;
    }
    builder_.add_jump(at, to);
  }
}

// A tree of the names that are taken, in whose nodes every other character leads out of it. Nodes
// are whole characters, as they are written within quotes.
void JsonRules::add_other_name(StateId from, std::span<const std::string> taken, StateId to) {
  const RuleId rule = builder_.rule_of(from);
  const Characters every = {{0, kLastCharacter}};
  const StateId outside = builder_.add_state(rule);
  add_plain(outside, every, outside);
  builder_.add_text(outside, "\"", to);

  struct TreeNode {
    StateId state;
    bool taken = false;
    std::map<uint32_t, size_t> children = {};
  };
  std::vector<TreeNode> tree = {{from}};
  for (const std::string& name : taken) {
    size_t at = 0;
    for (const uint32_t c : code_points(name)) {
      const auto [child, is_new] = tree[at].children.try_emplace(c, tree.size());
      const size_t next = child->second;
      if (is_new) tree.push_back({builder_.add_state(rule)});
      at = next;
    }
    tree[at].taken = true;
  }
  // The nodes' common part: what is not ASCII. Characters that need an escape do not leave the
  // tree.
  const StateId beyond_ascii = builder_.add_state(rule);
  builder_.add_characters(beyond_ascii, 0x80, kLastCharacter, outside);
  for (const TreeNode& at : tree) {
    if (!at.taken) builder_.add_text(at.state, "\"", to);
    for (const auto& [c, child] : at.children) add_plain(at.state, {{c, c}}, tree[child].state);
    for (uint32_t c = 0x20; c < 0x80; ++c) {
      if (c == '"' || c == '\\' || at.children.contains(c)) continue;
      builder_.add_characters(at.state, c, c, outside);
    }
    if (at.children.empty() || at.children.rbegin()->first < 0x80) {
      builder_.add_jump(at.state, beyond_ascii);
      continue;
    }
    uint32_t low = 0x80;
    for (auto child = at.children.lower_bound(0x80); child != at.children.end(); ++child) {
      if (low < child->first) {
        builder_.add_characters(at.state, low, child->first - 1, outside);
      }
      low = child->first + 1;
    }
    if (low <= kLastCharacter) builder_.add_characters(at.state, low, kLastCharacter, outside);
  }
}

}  // namespace anser
