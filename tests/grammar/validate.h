// Whether a value satisfies a schema: a validator written from the specification, for the keywords
// that tests use. It shares nothing with src/grammar.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

namespace support {

class Validator {
 public:
  using Json = nlohmann::json;
  explicit Validator(Json root) : root_(std::move(root)) {}

  bool valid(const Json& value) const { return valid(value, root_); }

 private:
  static bool has_type(const Json& v, const std::string& type) {
    if (type == "object") return v.is_object();
    if (type == "array") return v.is_array();
    if (type == "string") return v.is_string();
    if (type == "number") return v.is_number();
    if (type == "integer") return v.is_number_integer();
    if (type == "boolean") return v.is_boolean();
    if (type == "null") return v.is_null();
    throw std::logic_error("type " + type);
  }

  static size_t characters(const std::string& text) {
    return size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
  }

  bool valid(const Json& v, const Json& schema) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [key, s] : schema.items()) {
      if (!keyword(v, schema, key, s)) return false;
    }
    return true;
  }

  bool keyword(const Json& v, const Json& schema, const std::string& key, const Json& s) const {
    const auto all = [&](const Json& list) {
      return std::ranges::all_of(list, [&](const Json& one) { return valid(v, one); });
    };
    const auto any = [&](const Json& list) {
      return std::ranges::any_of(list, [&](const Json& one) { return valid(v, one); });
    };
    if (key == "$ref")
      return valid(v, root_.at(Json::json_pointer(s.get<std::string>().substr(1))));
    if (key == "allOf") return all(s);
    if (key == "anyOf") return any(s);
    if (key == "enum") return std::ranges::find(s, v) != s.end();
    if (key == "const") return v == s;
    if (key == "type") {
      if (s.is_string()) return has_type(v, s);
      return std::ranges::any_of(s, [&](const Json& t) { return has_type(v, t); });
    }
    if (v.is_object()) {
      if (key == "required") {
        return std::ranges::all_of(s,
                                   [&](const Json& n) { return v.contains(n.get<std::string>()); });
      }
      if (key == "properties" || key == "additionalProperties") {
        for (const auto& [name, value] : v.items()) {
          const bool listed = schema.contains("properties") && schema["properties"].contains(name);
          if (key == "properties" && listed && !valid(value, s[name])) return false;
          if (key == "additionalProperties" && !listed && !valid(value, s)) return false;
        }
      }
    }
    if (v.is_array()) {
      const size_t first = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
      if (key == "minItems") return v.size() >= s.get<size_t>();
      if (key == "maxItems") return v.size() <= s.get<size_t>();
      for (size_t i = 0; i < v.size(); ++i) {
        if (key == "prefixItems" && i < first && !valid(v[i], s[i])) return false;
        if (key == "items" && i >= first && !valid(v[i], s)) return false;
      }
    }
    if (v.is_string()) {
      if (key == "minLength") return characters(v) >= s.get<size_t>();
      if (key == "maxLength") return characters(v) <= s.get<size_t>();
      if (key == "pattern") {
        return std::regex_search(v.get<std::string>(), std::regex(s.get<std::string>()));
      }
    }
    if (v.is_number()) {
      const double x = v.get<double>();
      if (key == "minimum") return x >= s.get<double>();
      if (key == "maximum") return x <= s.get<double>();
      if (key == "exclusiveMinimum") return x > s.get<double>();
      if (key == "exclusiveMaximum") return x < s.get<double>();
    }
    static const std::vector<std::string> kKnown = {"required",
                                                    "properties",
                                                    "additionalProperties",
                                                    "minItems",
                                                    "maxItems",
                                                    "prefixItems",
                                                    "items",
                                                    "minLength",
                                                    "maxLength",
                                                    "pattern",
                                                    "minimum",
                                                    "maximum",
                                                    "exclusiveMinimum",
                                                    "exclusiveMaximum",
                                                    "$defs",
                                                    "title"};
    if (std::ranges::find(kKnown, key) == kKnown.end()) throw std::logic_error("keyword " + key);
    return true;
  }

  const Json root_;
};

}  // namespace support
