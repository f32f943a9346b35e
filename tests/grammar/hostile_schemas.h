// Schemas that were made to cost much: few words that multiply, patterns of many readings, long
// lists, long names.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

namespace support {

struct HostileSchema {
  std::string name, text;
};

// "a,b,c" of `count` parts, each made of its number.
inline std::string joined(int count, const std::string& between,
                          const std::function<std::string(int)>& part) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i > 0 ? between : "") + part(i);
  return text;
}

inline std::string repeated(int count, const std::string& part) {
  return joined(count, "", [&](int) { return part; });
}

inline std::string with_pattern(const std::string& pattern) {
  return R"({"type":"string","pattern":")" + pattern + "\"}";
}

// Alternatives of two letters, `form` with both in place of {0} and {1}.
inline std::string letter_pairs(const std::string& form, int count) {
  return with_pattern(joined(count, "|", [&](int i) {
    return fmt::format(fmt::runtime(form), char('a' + i / 26), char('a' + i % 26));
  }));
}

// $defs a0, a1, ...: each is `form` with the next one's number in place of {0}; the last is `last`.
inline std::string chain(int count, const std::string& form, const std::string& last) {
  return R"({"$ref":"#/$defs/a0","$defs":{)" +
         joined(count, ",",
                [&](int i) {
                  return fmt::format(R"("a{}":)", i) + fmt::format(fmt::runtime(form), i + 1);
                }) +
         fmt::format(R"(,"a{}":{}}}}})", count, last);
}

inline std::vector<HostileSchema> schemas_that_refer() {
  return {
      {"itself beside a type", R"({"type":"integer","anyOf":[{"$ref":"#"}]})"},
      {"itself twice", R"({"type":"integer","oneOf":[{"$ref":"#"},{"$ref":"#","minimum":1}]})"},
      {"itself in allOf", R"({"type":"integer","allOf":[{"$ref":"#"}]})"},
      {"items that grow", R"({"type":"array","items":{"$ref":"#"},"allOf":[{"items":{}},
          {"items":{"minItems":1}}],"anyOf":[{"$ref":"#"},{"items":{"maxItems":9}}]})"},
      {"a circle through allOf", R"({"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":
          "#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/a"}]}}})"},
      {"a chain", chain(2500, R"({{"$ref":"#/$defs/a{0}"}})", "{}")},
      {"a chain of merges", chain(2500, R"({{"minimum":1,"$ref":"#/$defs/a{0}"}})", "{}")},
      {"two to the power of 40", chain(40, R"({{"anyOf":[{{"$ref":"#/$defs/a{0}","minimum":{0}}},
          {{"$ref":"#/$defs/a{0}","maximum":9{0}}}]}})",
                                       R"({"type":"number"})")},
      {"two to the power of 40, in lists", chain(40, R"({{"items":{{"allOf":[{{"$ref":
          "#/$defs/a{0}"}},{{"items":{{"$ref":"#/$defs/a{0}"}}}}]}}}})",
                                                 "{}")},
      {"a long reference", R"({"$ref":"#)" + repeated(60'000, "/é") + "\"}"},
      {"many references to much",
       R"({"$defs":{"x":{)" +
           joined(4000, ",", [](int i) { return fmt::format(R"("x-{}":1)", i); }) +
           R"(}},"prefixItems":[)" + repeated(3000, R"({"$ref":"#/$defs/x","minimum":1},)") +
           "{}]}"},
      {"all to all", R"({"$ref":"#/$defs/a0","$defs":{)" +
                         joined(30, ",",
                                [](int i) {
                                  return fmt::format(R"("a{}":{{"items":{{"anyOf":[)", i) +
                                         joined(30, ",",
                                                [](int j) {
                                                  return fmt::format(R"({{"$ref":"#/$defs/a{}"}})",
                                                                     j);
                                                }) +
                                         "]}}";
                                }) +
                         "}}"},
  };
}

inline std::vector<HostileSchema> schemas_of_lists() {
  const auto numbers = [](int count, const char* form) {
    return joined(count, ",", [&](int i) { return fmt::format(fmt::runtime(form), i); });
  };
  return {
      {"alternatives beside much", R"({"properties":{)" + numbers(300, R"("p{}":{{}})") +
                                       R"(},"anyOf":[)" +
                                       numbers(6000, R"({{"required":["p{}"]}})") + "]}"},
      {"parts beside much", R"({"properties":{)" + numbers(3000, R"("p{}":{{}})") +
                                R"(},"allOf":[)" + repeated(40'000, "{},") + "{}]}"},
      {"alternatives of anything", R"({"anyOf":[)" + repeated(20'000, "{},") + "{}]}"},
      {"alternatives that begin alike",
       R"({"anyOf":[)" + numbers(2500, R"({{"type":"string","maxLength":1{}}})") + "]}"},
      {"lists that begin alike",
       R"({"anyOf":[)" +
           numbers(2500, R"({{"type":"array","minItems":{},"items":{{"type":"integer"}}}})") +
           "]}"},
      {"objects that begin alike",
       R"({"anyOf":[)" +
           numbers(1500,
                   R"({{"properties":{{"a":{{"type":"string"}},"b{}":{{}}}},"required":["a"]}})") +
           "]}"},
      {"long values",
       R"({"enum":[)" +
           joined(5000, ",",
                  [](int i) { return fmt::format("\"{}{}\"", i, std::string(40, 'x')); }) +
           "]}"},
      {"many values", R"({"enum":[)" + numbers(30'000, "{}") + "]}"},
      {"values that meet", R"({"allOf":[{"enum":[)" + numbers(15'000, "{}") + R"(]},{"enum":[)" +
                               numbers(15'000, "1{}") + "]}]}"},
      {"names that are required",
       R"({"type":"object","required":[)" + numbers(25'000, R"("k{}")") + "]}"},
      {"required names that meet", R"({"allOf":[{"required":[)" + numbers(12'000, R"("k{}")") +
                                       R"(]},{"required":[)" + numbers(12'000, R"("j{}")") +
                                       "]}]}"},
      {"properties", R"({"type":"object","properties":{)" + numbers(4096, R"("k{}":{{}})") + "}}"},
      {"properties and others",
       R"({"additionalProperties":{},"properties":{)" + numbers(4096, R"("k{}":{{}})") + "}}"},
      {"places with long names", R"({"properties":{")" + std::string(100'000, 'k') +
                                     R"(":{"properties":{)" +
                                     numbers(4000, R"("p{}":{{"enum":[1]}})") + "}}}}"},
      {"first items", R"({"prefixItems":[)" + repeated(60'000, "{},") + "{}]}"},
      {"lists in lists",
       repeated(60, R"({"minItems":999999999,"items":)") + "{}" + std::string(60, '}')},
      {"a long string", R"({"type":"string","minLength":999999999})"},
      {"an unknown word", "{\"" + repeated(50'000, "ž") + "\":1}"},
      {"a long type", R"({"type":")" + std::string(200'000, 'x') + "\"}"},
      {"digits", R"({"minimum":0.)" + std::string(200'000, '1') + "}"},
      {"an exponent", R"({"minimum":1e)" + std::string(200'000, '9') + "}"},
      {"bounds",
       R"({"anyOf":[)" + numbers(4000, R"({{"minimum":0.00{0}1,"maximum":987654{0}}})") + "]}"},
  };
}

inline std::vector<HostileSchema> schemas_of_patterns() {
  const auto characters = [](const std::string& between) {
    return joined(7000, between, [](int i) {
      const uint32_t c = 0x4e00u + 2 * uint32_t(i);
      return std::string{char(0xe0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    });
  };
  return {
      {"a million", with_pattern("^(a{1000}){1000}$")},
      {"repeated alternatives", with_pattern("^((((a|b)*){100}){100}){100}$")},
      {"nothing, often", with_pattern("^((((){10000}){10000}){10000}){10000}$")},
      {"nothing, never", with_pattern("^(((a{0}){10000}){10000}){10000}$")},
      {"perhaps", with_pattern("(.?){2000}z")},
      {"perhaps, to the end", with_pattern("^(.?){2000}z$")},
      {"perhaps one of two", with_pattern("^(a?b?){5000}$")},
      {"letters somewhere",
       with_pattern(
           joined(26, "|", [](int i) { return std::string(".*") + char('a' + i) + ".*"; }))},
      {"words somewhere", letter_pairs("^.*{0}{1}.*$", 520)},
      {"pairs somewhere", letter_pairs("^.*{0}.*{1}.*$", 676)},
      {"a letter long ago", with_pattern("^(a|b)*a(a|b){200}$")},
      {"any letter long ago", with_pattern("^[^x]*[a-m].{1000}$")},
      {"stars", with_pattern("^" + repeated(50, "(.*)*") + "x$")},
      {"stars between", with_pattern("^" + repeated(300, ".*a") + "$")},
      {"stars of words", with_pattern("^" + repeated(1500, "\\\\w*") + "!$")},
      {"stars of stars", with_pattern("^((((((.*)*)*)*)*)*)*x$")},
      {"empty alternatives", with_pattern("^(a|b|)*(|||||||){1000}c$")},
      {"single characters", with_pattern("^[" + characters("") + "]{1,20}$")},
      {"none of many", with_pattern("^[^" + characters("") + "]*$")},
      {"one of many", with_pattern("^(" + characters("|") + ")*$")},
      {"words",
       with_pattern("^(" + joined(9000, "|", [](int i) { return fmt::format("x{}", i); }) + ")*$")},
      {"words of one beginning",
       with_pattern(
           "^(" +
           joined(4000, "|", [](int i) { return std::string(30, 'a') + std::to_string(i); }) +
           ")*$")},
      {"a bad pattern", with_pattern(std::string(100'000, 'a') + "(?=b)")},
      {"patterns",
       R"({"anyOf":[)" +
           joined(60, ",", [](int i) { return with_pattern(fmt::format("^.{{0,{0}}}{0}$", i)); }) +
           "]}"},
  };
}

inline std::vector<HostileSchema> hostile_schemas() {
  std::vector<HostileSchema> all = schemas_that_refer();
  for (auto& more : {schemas_of_lists(), schemas_of_patterns()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace support
