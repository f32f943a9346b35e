// Which texts a schema's grammar accepts.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/constraints.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;

struct Case {
  std::string schema;
  std::vector<std::string> accepted, refused;
};

const Case kCases[] = {
    // Types.
    {R"({"type":"boolean"})",
     {"true", "false", " true"},
     {"null", "tru", "True", "\"true\"", "true "}},
    {R"({"type":"null"})", {"null"}, {"nul", "0"}},
    {R"({"type":["string","null"]})", {"null", R"("")"}, {"1"}},
    {R"({"type":"string","nullable":true})", {"null", R"("a")"}, {"1"}},
    {R"({"type":"integer"})",
     {"0", "-0", "7", "-120", "999999999999999999"},
     {"", "-", "01", "1.0", "1e3", "+1", "1234567890123456789"}},
    {R"({"type":"number"})",
     {"0", "-1.5", "1e9", "2.5E-07", "0.000"},
     {".5", "1.", "1e", "00", "1e100", "NaN", "0x1"}},
    {"true", {"1", "[]", R"({"a":[{}]})", "null"}, {"", "[", "{a:1}"}},
    {"{}", {"1.5", R"("x")", "[[null]]"}, {"[,]", "[1,]", "{,}"}},
    // Strings.
    {R"({"type":"string"})",
     {R"("")", R"("a b")", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\xa6\x86\"", R"("\n\t\\\/\"\b\f\r")",
      R"("\u00e4\uD83E\uDD86\ud7ff\uE000")", "\"\x7f\""},
     {"\"a", "\"\n\"", "\"\x80\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
      "\"\xe2\x82\"", R"("\x")", R"("\u12")", R"("\ud83e")", R"("\udd86")", R"("\ud83e\u0041")",
      "'a'"}},
    {R"({"type":"string","minLength":2,"maxLength":3})",
     {R"("ab")", R"("abc")", "\"\xf0\x9f\xa6\x86\xc3\xa4\"", R"("\n\ud83e\udd86")"},
     {R"("a")", R"("abcd")", "\"\xf0\x9f\xa6\x86\"", R"("\ud83e\udd86")"}},
    {R"({"type":"string","minLength":1})", {R"("a")", R"("abcdefgh")"}, {R"("")"}},
    {R"({"type":"string","maxLength":0})", {R"("")"}, {R"("a")"}},
    {R"({"type":"string","pattern":"^[a-c]+(-\\d{2,3})?$"})",
     {R"("a")", R"("abc-12")", R"("c-123")"},
     {R"("")", R"("d")", R"("a-1")", R"("a-1234")", R"("a-12x")", R"("\u0061")"}},
    {R"({"type":"string","pattern":"b"})",
     {R"("b")", R"("abc")", R"("\"b")"},
     {R"("")", R"("ac")"}},
    {R"({"type":"string","pattern":"^a|b$"})", {R"("ax")", R"("xb")"}, {R"("xa")", R"("bx")"}},
    {R"({"type":"string","pattern":"^[^a\"]\\.\\u00e4.$"})",
     {"\"b.\xc3\xa4x\"", "\"\xe2\x82\xac.\xc3\xa4\xf0\x9f\xa6\x86\"", "\"\\n.\xc3\xa4\\\"\""},
     {"\"a.\xc3\xa4x\"", "\"bx\xc3\xa4x\"", "\"b.\xc3\xa4\\n\"", "\"b.\xc3\xa4\n\""}},
    {R"({"type":"string","pattern":"^(?:a{2}|(b|c)*?)d?$"})",
     {R"("aa")", R"("bcbd")", R"("")", R"("d")"},
     {R"("a")", R"("aab")"}},
    {R"({"type":"string","format":"date"})",
     {R"("2024-02-28")", R"("1999-12-31")"},
     {R"("2024-02-30")", R"("2024-13-01")", R"("24-01-01")", R"("2024-04-31")"}},
    {R"({"type":"string","format":"date-time"})",
     {R"("2024-02-28T23:59:59Z")", R"("2024-02-28T00:00:00.5+01:30")"},
     {R"("2024-02-28")", R"("2024-02-28T24:00:00Z")", R"("2024-02-28T23:59:59")"}},
    {R"({"type":"string","format":"uuid"})",
     {R"("01234567-89ab-cdef-0123-456789abcdef")"},
     {R"("01234567-89ab-cdef-0123-456789abcde")"}},
    {R"({"type":"string","format":"ipv4"})", {R"("192.168.0.255")"}, {R"("192.168.0.256")"}},
    {R"({"type":"string","format":"nobody-knows"})", {R"("anything")"}, {"1"}},
    // Numbers with bounds.
    {R"({"type":"integer","minimum":-12,"maximum":105})",
     {"-12", "-9", "-1", "0", "9", "10", "99", "100", "105"},
     {"-13", "-20", "-100", "106", "110", "200", "1000", "1.0", "00"}},
    {R"({"type":"integer","minimum":37})",
     {"37", "40", "99", "100", "123456789"},
     {"36", "4", "-40"}},
    {R"({"type":"integer","maximum":-5})", {"-5", "-6", "-10", "-4000"}, {"-4", "0", "5"}},
    {R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":10})",
     {"1", "9"},
     {"0", "10", "-0"}},
    {R"({"type":"integer","minimum":1.5,"maximum":3.5})", {"2", "3"}, {"1", "4"}},
    {R"({"type":"number","minimum":0,"maximum":1})",
     {"0", "1", "0.5", "1.0", "1.000", "0.99999"},
     {"-0.1", "1.01", "2", "1.0001", "10", "-0"}},
    {R"({"type":"number","exclusiveMinimum":-1.25,"maximum":2.5})",
     {"-1.2", "-1.2499", "0", "-0.5", "2.5", "2.49", "2.50"},
     {"-1.25", "-1.250", "-1.3", "2.51", "3", "-2"}},
    {R"({"type":"number","minimum":1e3,"maximum":1e3})", {"1000", "1000.0"}, {"999.9", "1000.1"}},
    {R"({"minimum":5})", {"5", "6.5"}, {"4", "null", "\"a\""}},
    // Values.
    {R"({"enum":["a","ab",1,12,null,{"k":[1]},"\n\u00e4"]})",
     {R"("a")", R"("ab")", "1", "12", "null", R"({"k":[1]})", "\"\\n\xc3\xa4\""},
     {R"("b")", "2", "122", R"("abc")", "[1]"}},
    {R"({"type":"string","enum":["a",1]})", {R"("a")"}, {"1"}},
    {R"({"const":"x"})", {R"("x")"}, {R"("y")"}},
    {R"({"const":{"a":1.5}})", {R"({"a":1.5})"}, {R"({"a": 1.5})"}},
    // Objects.
    {R"({"type":"object"})",
     {"{}", R"({"a":1})", R"({"a":{"b":[]},"c":null})", R"( {"a":1})"},
     {"[]", "{", R"({"a"})", R"({"a":1,})", R"({"a" :1})", "{}}", "{\t}", "{ }", R"({ "a":1})",
      R"({"a": 1})", R"({"a":1, "b":2})", R"({"a":1 })", "{\n\"a\":1}", R"(  {"a":1})"}},
    {R"({"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"string"}},
         "required":["z","a"],"additionalProperties":false})",
     {R"({"z":1,"a":"x"})"},
     {R"({"z": 1, "a": "x"})", R"({"a":"x","z":1})", R"({"z":1})", R"({"z":1,"a":"x","b":1})", "{}",
      R"({"z":1,"z":1,"a":"x"})"}},
    {R"({"properties":{"a":{"type":"integer"},"b":{"type":"integer"},"c":{"type":"integer"}},
         "required":["b"]})",
     {R"({"b":2})", R"({"a":1,"b":2})", R"({"b":2,"c":3})", R"({"a":1,"b":2,"c":3})"},
     {R"({"a":1})", R"({"c":3})", R"({"a":1,"c":3})", R"({"b":2,"d":3})", R"({"b":2,})", "{}"}},
    {R"({"properties":{"a":{"type":"integer"},"b":{"type":"integer"}}})",
     {"{}", R"({"a":1})", R"({"b":1})", R"({"a":1,"b":1})"},
     {R"({"b":1,"a":1})", R"({,"b":1})"}},
    {R"({"properties":{"id":{"type":"integer"},"\u00e4":{"type":"integer"}},"required":["id"],
         "additionalProperties":{"type":"boolean"}})",
     {R"({"id":1})", R"({"id":1,"x":true})", R"({"id":1,"ide":true,"i":false,"":true})",
      "{\"id\":1,\"\xc3\xa4\":3,\"\xc3\xb6\":true}", "{\"id\":1,\"\xc3\xa4x\":true}",
      R"({"id":1,"x\n":true})"},
     {R"({"id":1,"id":true})", R"({"id":true})", R"({"id":1,"\u0069d":true})",
      "{\"id\":1,\"\xc3\xa4\":true}", R"({"id":1,"x":1})", R"({"x":true,"id":1})",
      "{\"id\":1,\"\xc3\":true}"}},
    {R"({"type":"object","additionalProperties":{"type":"integer"}})",
     {"{}", R"({"a":1,"b":2})"},
     {R"({"a":"x"})"}},
    {R"({"type":"object","additionalProperties":false})", {"{}"}, {"{ }", R"({"a":1})"}},
    {R"({"type":"object","properties":{}})", {"{}"}, {R"({"a":1})"}},
    {R"({"type":"object","required":["a"]})", {R"({"a":[1]})"}, {"{}", R"({"b":1})"}},
    {R"({"properties":{"a":false,"b":true}})", {"{}", R"({"b":0})"}, {R"({"a":0})"}},
    {R"({"properties":{"a\"b":{"const":1}},"required":["a\"b"]})", {R"({"a\"b":1})"}, {"{}"}},
    {R"({"type":"object","title":"T","description":"d","default":{},"x-order":3,"$schema":"s",
         "properties":{"a":{"type":"null","examples":[null]}}})",
     {R"({"a":null})"},
     {}},
    // Lists.
    {R"({"type":"array"})", {"[]", "[1]", "[1,[2]]"}, {"[1 ,2]", "[1, 2]", "[ 1]", "[1"}},
    {R"({"type":"array","items":{"type":"integer"}})", {"[]", "[1,2,3]"}, {"[true]"}},
    {R"({"items":{"type":"integer"},"minItems":2,"maxItems":3})",
     {"[1,2]", "[1,2,3]"},
     {"[]", "[1]", "[1,2,3,4]"}},
    {R"({"items":{"type":"integer"},"minItems":1})", {"[1]", "[1,2,3,4,5]"}, {"[]"}},
    {R"({"items":{"type":"integer"},"maxItems":1})", {"[]", "[1]"}, {"[1,2]"}},
    {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
    {R"({"type":"array","items":false})", {"[]"}, {"[1]"}},
    {R"({"prefixItems":[{"type":"integer"},{"type":"string"}]})",
     {R"([1,"a"])"},
     {"[]", "[1]", R"([1,"a",2])", R"(["a",1])"}},
    {R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":0,
         "items":{"type":"null"}})",
     {"[]", "[1]", R"([1,"a"])", R"([1,"a",null,null])"},
     {R"([1,"a",2])", "[null]"}},
    {R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":3,"maxItems":4})",
     {"[1,null,null]", "[1,null,null,null]"},
     {"[1]", "[1,null]", "[1,null,null,null,null]"}},
    {R"({"type":"array","uniqueItems":false,"minProperties":0})", {"[1,1]"}, {}},
    // Alternatives.
    {R"({"anyOf":[{"type":"integer"},{"type":"string"}]})", {"1", R"("a")"}, {"null"}},
    {R"({"oneOf":[{"const":1},{"type":"object","properties":{"a":{"const":1}}},
         {"type":"object","properties":{"a":{"const":2}}}]})",
     {"1", R"({"a":1})", R"({"a":2})"},
     {"{}", R"({"a":3})", R"({"a":1,"a":2})"}},
    {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
         "anyOf":[{"required":["a"]},{"required":["b"]}]})",
     {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":1})"},
     {"{}"}},
    {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},
         {"properties":{"b":{"type":"string"},"a":{"minimum":3}},"required":["b"]}]})",
     {R"({"a":3,"b":""})"},
     {R"({"a":2,"b":""})", R"({"a":3})"}},
    {R"({"type":["number","string"],"allOf":[{"type":"integer"},{"maximum":5}]})",
     {"5"},
     {"6", "1.5"}},
    // References.
    {R"({"$defs":{"n":{"type":"integer"}},"items":{"$ref":"#/$defs/n"}})", {"[1]"}, {"[true]"}},
    {R"({"definitions":{"a/b":{"$ref":"#/definitions/c%25"},"c%":{"const":1}},
         "$ref":"#/definitions/a~1b"})",
     {"1"},
     {"2"}},
    {R"({"$defs":{"p":{"properties":{"a":{"type":"integer"}}}},"$ref":"#/$defs/p",
         "required":["a"],"description":"beside"})",
     {R"({"a":1})"},
     {"{}"}},
    {R"({"type":"object","properties":{"value":{"type":"integer"},
         "next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["value","next"]})",
     {R"({"value":1,"next":null})", R"({"value":1,"next":{"value":2,"next":null}})"},
     {R"({"value":1})", R"({"value":1,"next":{}})"}},
    {R"({"$defs":{"tree":{"type":"array","items":{"$ref":"#/$defs/tree"}}},"$ref":"#/$defs/tree"})",
     {"[]", "[[],[[],[]]]"},
     {"[1]"}},
};

TEST(Schema, AcceptsAndRefusesByteByByte) {
  for (const Case& one : kCases) {
    const auto constraint = byte_constraint(one.schema);
    for (const std::string& text : one.accepted) {
      EXPECT_TRUE(accepts(constraint, text)) << one.schema << "\n" << text;
    }
    for (const std::string& text : one.refused) {
      EXPECT_FALSE(accepts(constraint, text)) << one.schema << "\n" << text;
    }
  }
}

TEST(Schema, JsonObjectIsAnyObject) {
  const auto constraint = Constraint::json_object(Tokenizer::bytes(), 256);
  EXPECT_TRUE(accepts(constraint, R"( {"a":[1,{"b":"\u00e4"}],"c":null})"));
  EXPECT_FALSE(accepts(constraint, "[]"));
  EXPECT_FALSE(accepts(constraint, "1"));
}

TEST(Schema, NestsAsDeepAsReadersCanBearAndNoDeeper) {
  const auto constraint = byte_constraint(R"({"type":"array"})");
  EXPECT_TRUE(accepts(constraint, std::string(63, '[') + std::string(63, ']')));
  ConstraintMatcher matcher(constraint);
  while (matcher.accept("[")) {
  }
  // There is a way back from the deepest place.
  while (matcher.open()) ASSERT_TRUE(matcher.accept("]"));
  EXPECT_TRUE(matcher.complete());
}

TEST(Schema, ErrorsNameThePlaceAndWhatToDo) {
  const auto error = [](const std::string& schema) {
    return error_of([&] { byte_constraint(schema); });
  };
  const struct {
    std::string schema;
    std::vector<std::string> words;
  } kErrors[] = {
      {R"({"properties":{"a~/b":{"disallow":"null"}}})",
       {"#/properties/a~0~1b", "'disallow'", "use not"}},
      {R"({"type":"string","formatMinimum":"2020-01-01"})", {"#", "'formatMinimum'"}},
      {R"({"type":"array","items":{"type":"object"},"uniqueItems":true,"minItems":2})",
       {"#", "'uniqueItems'"}},
      {R"({"items":{"multipleOf":0}})", {"#/items", "'multipleOf'"}},
      {R"({"$ref":"#/$defs/no"})", {"#/$defs/no", "points at nothing"}},
      {R"({"$ref":"other.json"})", {"other.json", "outside"}},
      {R"({"properties":{"b":{"type":"array","contains":{},"maxContains":2}}})",
       {"#/properties/b", "'maxContains'"}},
      {R"({"type":"number","not":{"multipleOf":0.3}})", {"#", "'not'"}},
      {R"({"type":"text"})", {"'type'", "text", "string"}},
      {R"x({"type":"string","pattern":"(?<=a)"})x", {"pattern", "(?<="}},
      {R"({"type":"string","pattern":"\\bword"})", {"pattern", "\\b"}},
      {R"({"type":"string","pattern":"(a"})", {"( without )"}},
      {R"x({"type":"string","pattern":"a)"})x", {") without ("}},
      {R"({"type":"string","pattern":"[b-a]"})", {"below"}},
      {R"({"type":"string","minLength":3,"maxLength":2})", {"minLength", "maxLength"}},
      {R"({"type":"string","minLength":-1})", {"'minLength'", "-1"}},
      {R"({"type":"integer","minimum":3,"maximum":2})", {"no text"}},
      {R"({"type":"integer","minimum":"3"})", {"'minimum'"}},
      {R"({"$ref":"#"})", {"circle"}},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"circle"}},
      {R"({"allOf":[{"$ref":"#"}],"type":"object"})", {"circle"}},
      {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", {"no text"}},
      {R"({"enum":[]})", {"no text"}},
      {"false", {"no text"}},
      {R"({"anyOf":[]})", {"'anyOf'"}},
      {R"({"a":1,"a":2})", {"twice"}},
      {R"({"type":)", {"not valid JSON", "byte"}},
      {"[1]", {"expected an object"}},
      {std::string(100, '['), {"nested"}},
      {R"({"minProperties":17})", {"'minProperties'", "required"}},
      {R"({"type":"string","pattern":"((a{1000}){1000}){1000}"})", {"too large"}},
      {R"({"type":"array","items":3})", {"#/items", "expected an object"}},
  };
  for (const auto& [schema, words] : kErrors) {
    const std::string text = error(schema);
    for (const std::string& word : words) {
      EXPECT_NE(text.find(word), std::string::npos) << schema << "\n'" << word << "': " << text;
    }
  }
}

TEST(Schema, AVocabularyWithoutANeededByteIsAnError) {
  expect_error({"0x7b"}, [] { Constraint::json_object(Tokenizer::bytes(), 0x7b); });
  // Bytes that the schema does not need may be missing.
  EXPECT_TRUE(
      accepts(Constraint::json_schema(Tokenizer::bytes(), 0x7b, R"({"const":[1]})"), "[1]"));
}

}  // namespace
}  // namespace anser
