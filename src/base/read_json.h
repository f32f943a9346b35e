// The one way in which JSON from outside is read, whether it is a body, a string within one, a file
// or a record: every limit is checked before what exceeds it is built, and the work is linear in
// the text but for sorting each object's keys. nlohmann's own parser is neither: it takes any
// depth, and its ordered objects compare every key with all before it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/cut_text.h"

namespace anser {

struct JsonLimits {
  size_t depth = 64;        // objects and lists within each other
  size_t keys = 65'536;     // of one object
  size_t values = 1 << 22;  // of the whole text: numbers, strings, objects, lists and so on
  // Whether an object may have a key twice. The last value counts then, in the first one's place.
  bool repeated_keys = true;
};

// What is wrong, for the caller to put into words.
struct JsonFault {
  enum class Kind { syntax, too_deep, repeated_key, too_many_keys, too_many_values };
  Kind kind;
  size_t position = 0;     // of `syntax`, in bytes
  std::string words = {};  // of `syntax`, what the parser says, cut short
  std::string key = {};    // of `repeated_key`
};

// Builds a Json, which is nlohmann::json or nlohmann::ordered_json, of the parser's events.
template <class Json>
class JsonReader final : public nlohmann::json_sax<Json> {
 public:
  explicit JsonReader(const JsonLimits& limits) : limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(int64_t value) override { return add(value) != nullptr; }
  bool number_unsigned(uint64_t value) override { return add(value) != nullptr; }
  bool number_float(double value, const std::string&) override { return add(value) != nullptr; }
  bool string(std::string& value) override { return add(std::move(value)) != nullptr; }
  bool binary(typename Json::binary_t&) override { return false; }  // JSON has none
  bool start_object(size_t) override { return open(Json::value_t::object); }
  bool start_array(size_t) override { return open(Json::value_t::array); }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool end_object() override {
    if constexpr (kOrdered) resolve_repeated(members(*open_.back()));
    open_.pop_back();
    return true;
  }
  bool key(std::string& name) override {
    auto& object = members(*open_.back());
    if (object.size() == limits_.keys) throw JsonFault{JsonFault::Kind::too_many_keys};
    if constexpr (kOrdered) {
      // Behind the others unseen: repeated ones are found when the object is complete.
      member_ = &object.emplace_back(std::move(name), nullptr).second;
    } else {
      const auto [at, is_new] = object.try_emplace(std::move(name), nullptr);
      if (!is_new && !limits_.repeated_keys) throw repeated(at->first);
      member_ = &at->second;
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    std::string_view words = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..."
    words.remove_prefix(std::min(words.find("] ") + 2, words.size()));
    if (words.starts_with("parse error")) words.remove_prefix(words.find(": ") + 2);
    const size_t before_sent = std::min(words.find('\'') + 1, words.size());
    throw JsonFault{JsonFault::Kind::syntax, position,
                    cut_text(words, before_sent + kShownCharacters)};
  }

 private:
  using Object = typename Json::object_t;
  static constexpr bool kOrdered = std::is_same_v<Json, nlohmann::ordered_json>;

  static Object& members(Json& object) { return object.template get_ref<Object&>(); }
  static JsonFault repeated(const std::string& key) {
    return {JsonFault::Kind::repeated_key, 0, {}, cut_text(key)};
  }

  template <class Value>
  Json* add(Value&& value) {
    if (++values_ > limits_.values) throw JsonFault{JsonFault::Kind::too_many_values};
    if (open_.empty()) return &(root_ = Json(std::forward<Value>(value)));
    if (!open_.back()->is_array()) return &(*member_ = Json(std::forward<Value>(value)));
    auto& list = open_.back()->template get_ref<typename Json::array_t&>();
    return &list.emplace_back(std::forward<Value>(value));
  }

  bool open(typename Json::value_t type) {
    if (open_.size() == limits_.depth) throw JsonFault{JsonFault::Kind::too_deep};
    open_.push_back(add(type));
    return true;
  }

  // Sorts the places of an object's keys, so that equal ones stand beside each other.
  void resolve_repeated(Object& object) const {
    if (object.size() < 2) return;
    auto* const members = object.data();
    std::vector<size_t> places(object.size());
    std::iota(places.begin(), places.end(), size_t{0});
    std::ranges::sort(places, [&](size_t a, size_t b) {
      const int order = members[a].first.compare(members[b].first);
      return order != 0 ? order < 0 : a < b;
    });
    std::vector<bool> dropped;
    for (size_t i = 1, first = 0; i < places.size(); ++i) {
      if (members[places[i]].first != members[places[first]].first) {
        first = i;
        continue;
      }
      if (!limits_.repeated_keys) throw repeated(members[places[i]].first);
      dropped.resize(object.size());
      dropped[places[i]] = true;
      members[places[first]].second = std::move(members[places[i]].second);
    }
    if (dropped.empty()) return;
    Object kept;
    for (size_t i = 0; i < object.size(); ++i) {
      if (!dropped[i]) kept.emplace_back(members[i].first, std::move(members[i].second));
    }
    object = std::move(kept);
  }

  const JsonLimits limits_;
  Json root_;
  std::vector<Json*> open_;  // objects and lists, the outermost first
  Json* member_ = nullptr;   // of the innermost object: the value of the last key
  size_t values_ = 0;
};

// Throws JsonFault.
template <class Json>
Json read_json(std::string_view text, const JsonLimits& limits = {}) {
  JsonReader<Json> reader(limits);
  Json::sax_parse(text, &reader);
  return reader.take();
}

// Nothing for what is not JSON or exceeds a limit.
template <class Json>
std::optional<Json> find_json(std::string_view text, const JsonLimits& limits = {}) {
  try {
    return read_json<Json>(text, limits);
  } catch (const JsonFault&) {
    return std::nullopt;
  }
}

}  // namespace anser
