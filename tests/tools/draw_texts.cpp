// Compiles schemas and draws random texts that their grammars allow; tests/tools/test_schemas.py
// asks others whether they are right.
//
// A line of JSON on standard input is a schema: {"schema": its text, "texts": how many, "seed": a
// number, "seconds": of drawing at the most, "instances": [texts that are to be tried]}; all but
// the first may be left out. A line on standard output is the answer:
// {"error": why it does not compile, "seconds": of compiling} or
// {"seconds": of compiling, "texts": [...], "endless": how many were given up as too long, "stuck":
// those that could neither end nor go on, "accepted": [of each instance, whether it could be
// written]}. A byte of a text is one character of U+0000 to U+00FF there, so that what is no UTF-8
// is seen as it is.
#include <array>
#include <bit>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "anser/error.h"
#include "grammar/automaton.h"
#include "grammar/schema.h"

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Where a text is within JSON, as far as its next byte's weight depends on that.
class Place {
 public:
  void add(char byte) {
    if (in_string_) {
      ++length_;
      if (escaped_) {
        escaped_ = false;
      } else if (byte == '\\') {
        escaped_ = true;
      } else if (byte == '"') {
        in_string_ = false;
        after_comma_ = false;
      }
      return;
    }
    if (byte == '"') {
      in_string_ = true;
      name_ = after_comma_ && !open_.empty() && open_.back() == '{';
      length_ = 0;
    } else if (byte == '{' || byte == '[') {
      open_ += byte;
      after_comma_ = true;
    } else if (byte == '}' || byte == ']') {
      if (!open_.empty()) open_.pop_back();
      after_comma_ = false;
    } else if (byte == ',') {
      after_comma_ = true;
    } else if (byte == ':') {
      after_comma_ = false;
    }
  }
  bool in_string() const { return in_string_; }
  bool at_name() const { return in_string_ && name_ && length_ == 0; }
  // Names of one character would soon come twice.
  bool in_short_name() const { return in_string_ && name_ && length_ < 4; }

 private:
  std::string open_;
  bool in_string_ = false, escaped_ = false, name_ = false, after_comma_ = false;
  size_t length_ = 0;
};

// All names of members in it, whatever they mean there.
void collect_names(const Json& json, std::vector<std::string>& names) {
  for (const auto& [name, member] : json.items()) {
    if (json.is_object()) {
      names.push_back(Json(name).dump().substr(1));
    }
    if (member.is_structured()) collect_names(member, names);
  }
}

// Draws texts byte by byte. Where a name begins, those in the schema are tried most of the time:
// letters alone would hardly meet one where others may come, too. Bytes that the grammar does not
// tell apart are one choice, so that each branch is taken with some chance, however many bytes lead
// to another one; from some length on, what closes something is taken wherever it may come.
class Drawer {
 public:
  // `names` are tried as they are, with the quotes behind them.
  Drawer(const anser::Grammar& grammar, std::vector<std::string> names, uint64_t seed)
      : grammar_(grammar), names_(std::move(names)), random_(seed) {
    members_.resize(size_t(grammar.classes));
    for (int byte = 0; byte < 256; ++byte) members_[grammar.class_of[size_t(byte)]] += char(byte);
  }

  enum class End { complete, endless, stuck };
  struct Drawn {
    std::string text;
    End end;
  };

  Drawn draw() {
    if (automaton_ == nullptr || automaton_->size() > kMaxRemembered) {
      automaton_ = std::make_unique<anser::Automaton>(grammar_);
    }
    constexpr std::array<size_t, 6> kLengths = {0, 10, 40, 100, 250, 600};
    const size_t wanted = kLengths[below(kLengths.size())];
    const double white = below(3) == 0 ? 1 : 0.05;
    const bool repeats = below(4) == 0;  // runs of one byte: 0.9999999999, names that are alike
    std::string text;
    Place place;
    size_t waited = 0;  // bytes since this string should have ended
    anser::Automaton::Id at = automaton_->start();
    while (text.size() < kMaxText) {
      if (automaton_->complete(at)) {
        const bool enough = text.size() >= wanted || below(5) == 0;
        if (enough || !automaton_->open(at)) return {std::move(text), End::complete};
      }
      const bool closing = text.size() >= wanted;
      waited = closing && place.in_string() ? waited + 1 : 0;
      std::string bytes;
      if (place.at_name()) bytes = known_name(at);
      // Seldom, since it is in vain where a string must be long.
      if (waited >= kMinWaited && std::has_single_bit(waited)) bytes = end_of_string(at);
      if (bytes.empty()) bytes = next(at, text, place, closing, white, repeats);
      if (bytes.empty()) return {std::move(text), End::stuck};
      for (const char byte : bytes) {
        text += byte;
        place.add(byte);
        at = automaton_->step(at, uint8_t(byte));
      }
    }
    return {std::move(text), End::endless};
  }

 private:
  static constexpr size_t kMaxText = 40'000, kMinWaited = 16, kMaxSearched = 20'000;
  static constexpr size_t kMaxRemembered = 64 << 20;

  size_t below(size_t end) { return size_t(random_() % end); }

  static double weight(char byte, const Place& place, bool closing, double white) {
    constexpr double kMuch = 1000;
    if (place.in_string()) {
      if (byte == '"') return place.in_short_name() ? 0.05 : closing ? kMuch : 4;
      // Beginnings of characters of many bytes, of which there are many kinds.
      return uint8_t(byte) >= 0xc0 ? 0.3 : 1;
    }
    switch (byte) {
      case ' ':
      case '\n':
      case '\r':
      case '\t':
        return closing ? white / kMuch : white;
      case '{':
      case '[':
        return closing ? 1 / kMuch : 1;
      case '"':
        return closing ? 30 : 1;
      case '}':
      case ']':
        return closing ? kMuch : 0.3;
      default:
        return 1;
    }
  }

  // One that may come here, or nothing.
  std::string known_name(anser::Automaton::Id at) {
    for (int tries = 0; tries < 4 && !names_.empty(); ++tries) {
      const std::string& name = names_[below(names_.size())];
      anser::Automaton::Id to = at;
      for (size_t i = 0; i < name.size() && to != anser::Automaton::kDead; ++i) {
        to = automaton_->step(to, uint8_t(name[i]));
      }
      if (to != anser::Automaton::kDead) return name;
    }
    return {};
  }

  // The shortest way to a quote, for strings that chance would hardly end, as one that has a date
  // somewhere; or nothing.
  std::string end_of_string(anser::Automaton::Id from) {
    struct Step {
      anser::Automaton::Id at;
      size_t before;
      std::string bytes;
    };
    std::vector<Step> steps = {{from, 0, {}}};
    std::unordered_set<anser::Automaton::Id> seen = {from};
    for (size_t i = 0; i < steps.size() && steps.size() < kMaxSearched; ++i) {
      for (const auto& [byte, to] : ways_on(steps[i].at)) {
        if (byte == '"') {
          std::string way = {byte};
          for (; i != 0; i = steps[i].before) way.insert(0, steps[i].bytes);
          return way;
        }
        if (byte != '\\') {
          if (seen.insert(to).second) steps.push_back({to, i, {byte}});
          continue;
        }
        // With what is escaped, so that an escaped quote is not taken for the string's own.
        for (const auto& [escaped, behind] : ways_on(to)) {
          if (seen.insert(behind).second) steps.push_back({behind, i, {byte, escaped}});
        }
      }
    }
    return {};
  }

  // A byte of each class that may come, and where it leads to.
  std::vector<std::pair<char, anser::Automaton::Id>> ways_on(anser::Automaton::Id from) {
    std::vector<std::pair<char, anser::Automaton::Id>> ways;
    for (const std::string& members : members_) {
      const char byte = members[below(members.size())];
      const anser::Automaton::Id to = automaton_->step(from, uint8_t(byte));
      if (to != anser::Automaton::kDead) ways.emplace_back(byte, to);
    }
    return ways;
  }

  // One byte, or nothing where the text cannot go on.
  std::string next(anser::Automaton::Id at, const std::string& text, const Place& place,
                   bool closing, double white, bool repeats) {
    if (repeats && !text.empty() && below(8) != 0 && !closing &&
        automaton_->step(at, uint8_t(text.back())) != anser::Automaton::kDead) {
      return text.substr(text.size() - 1);
    }
    std::vector<std::pair<double, const std::string*>> choices;
    double sum = 0;
    for (const std::string& members : members_) {
      if (automaton_->step(at, uint8_t(members[0])) == anser::Automaton::kDead) continue;
      sum += weight(members[0], place, closing, white);
      choices.emplace_back(sum, &members);
    }
    if (choices.empty()) return {};
    const double drawn = double(random_() >> 11) * 0x1p-53 * sum;
    for (const auto& [until, members] : choices) {
      if (drawn < until) return {(*members)[below(members->size())]};
    }
    return {choices.back().second->front()};
  }

  const anser::Grammar& grammar_;
  std::vector<std::string> names_;
  std::mt19937_64 random_;
  std::vector<std::string> members_;  // of each class: its bytes
  std::unique_ptr<anser::Automaton> automaton_;
};

// Of bytes, a character each.
std::string as_latin_1(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    if (uint8_t(byte) < 0x80) {
      text += byte;
    } else {
      text += char(0xc0 | uint8_t(byte) >> 6);
      text += char(0x80 | (uint8_t(byte) & 0x3f));
    }
  }
  return text;
}

bool can_be_written(const anser::Grammar& grammar, const std::string& text) {
  anser::Automaton automaton(grammar);
  anser::Automaton::Id at = automaton.start();
  for (const char byte : text) {
    at = automaton.step(at, uint8_t(byte));
    if (at == anser::Automaton::kDead) return false;
  }
  return automaton.complete(at);
}

Json answer(const Json& asked) {
  Json answered;
  const std::string schema = asked.at("schema");
  const Clock::time_point begin = Clock::now();
  std::optional<anser::Grammar> grammar;
  try {
    grammar = anser::json_schema_grammar(schema);
  } catch (const anser::Error& error) {
    answered["error"] = error.what();
  }
  answered["seconds"] = seconds_since(begin);
  if (!grammar) return answered;

  answered["texts"] = Json::array();
  answered["accepted"] = Json::array();
  std::array<int, 3> ends = {};
  const Clock::time_point drawing = Clock::now();
  const double most = asked.value("seconds", 1e9);
  std::vector<std::string> names;
  collect_names(Json::parse(schema), names);
  Drawer drawer(*grammar, std::move(names), asked.value("seed", uint64_t{1}));
  for (size_t i = 0; i < asked.value("texts", size_t{0}) && seconds_since(drawing) < most; ++i) {
    const Drawer::Drawn drawn = drawer.draw();
    ++ends[size_t(drawn.end)];
    if (drawn.end == Drawer::End::complete) answered["texts"].push_back(as_latin_1(drawn.text));
  }
  answered["endless"] = ends[size_t(Drawer::End::endless)];
  answered["stuck"] = ends[size_t(Drawer::End::stuck)];
  for (const Json& instance : asked.value("instances", Json::array())) {
    answered["accepted"].push_back(can_be_written(*grammar, instance.get<std::string>()));
  }
  return answered;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(Json::parse(line)).dump() << std::endl;
  }
}
