// Schemas made of schemas: alternatives that exclude each other, what must not be, circles with
// keywords beside them, objects and lists that are counted. What is accepted satisfies the schema.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/constraints.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;

struct Shape {
  std::string schema;
  std::vector<std::string> accepted, refused;
};

void expect_shapes(const std::vector<Shape>& shapes) {
  for (const Shape& one : shapes) {
    SCOPED_TRACE(one.schema);
    const auto constraint = byte_constraint(one.schema);
    for (const std::string& text : one.accepted) EXPECT_TRUE(accepts(constraint, text)) << text;
    for (const std::string& text : one.refused) EXPECT_FALSE(accepts(constraint, text)) << text;
  }
}

struct Wrong {
  std::string schema;
  std::vector<std::string> words;
};

void expect_wrong(const std::vector<Wrong>& all) {
  for (const auto& [schema, words] : all) {
    SCOPED_TRACE(schema);
    expect_error(words, [&, text = schema] { byte_constraint(text); });
  }
}

TEST(Shapes, WhatNothingSatisfiesIsLeftOut) {
  expect_shapes({
      {R"({"properties":{"a":{"allOf":[{"type":"string"},{"type":"integer"}]},
           "b":{"type":"integer"}}})",
       {"{}", R"({"b":1})"},
       {R"({"a":"x"})", R"({"a":1})"}},
      {R"({"anyOf":[{"type":"string","const":1},{"type":"integer"}]})", {"1"}, {R"("a")", "\"\""}},
      {R"({"anyOf":[{"enum":["a"],"allOf":[{"enum":["b"]}]},{"type":"null"}]})",
       {"null"},
       {R"("a")", R"("b")", "1"}},
      {R"({"type":"array","items":{"type":"string","enum":[1,2]}})", {"[]"}, {"[1]", R"([""])"}},
      {R"({"properties":{"a":{"minLength":3,"maxLength":2},"b":{"minimum":3,"maximum":2}}})",
       {"{}"},
       {R"({"a":"xxx"})", R"({"b":3})"}},
      {R"({"type":"array","prefixItems":[{"const":1},false]})", {"[1]"}, {"[1,1]"}},
  });
}

TEST(Shapes, WhatNothingSatisfiesIsNamedWhereItMustBe) {
  expect_wrong({
      {R"({"type":"string","enum":[1,2]})", {"no text", "#", "enum", "string"}},
      {R"({"properties":{"a":{"type":"object","properties":{"b":{"allOf":[{"type":"string"},
           {"type":"integer"}]}},"required":["b"]}},"required":["a"]})",
       {"no text", "#/properties/a/properties/b", "types"}},
      {R"({"const":1,"enum":[2]})", {"no text", "in common"}},
      {R"({"type":"object","required":["a"],"properties":{"a":false}})",
       {"no text", "#/properties/a"}},
      {R"({"type":"string","nullable":true,"allOf":[{"type":"integer"}]})", {"no text", "types"}},
      {R"({"required":["b"],"propertyNames":{"enum":["a"]}})", {"no text", "'b'"}},
      {R"({"minProperties":2,"properties":{"a":{}},"additionalProperties":false})",
       {"no text", "minProperties"}},
      {R"({"maxProperties":1,"required":["a","b"]})", {"no text", "maxProperties"}},
      {R"({"items":{"type":"string","const":1},"minItems":1})", {"no text", "items"}},
      {R"({"enum":["a"],"minLength":2})", {"no text", "beside"}},
      {R"({"anyOf":[{"type":"string","const":1},{"type":"null","const":1}]})",
       {"no text", "alternatives"}},
      {R"({"type":"string","not":{}})", {"no text"}},
  });
}

TEST(Shapes, ValuesAreThoseThatTheOtherKeywordsAllow) {
  expect_shapes({
      {R"({"type":"integer","const":1.0})", {"1"}, {"1.0", "2"}},
      {R"({"type":"integer","enum":[1.0,2.5,3]})", {"1", "3"}, {"2.5", "2"}},
      {R"({"enum":["a","abc",5],"minLength":2})", {R"("abc")", "5"}, {R"("a")"}},
      {R"({"enum":[1,2,3,4],"multipleOf":2,"exclusiveMaximum":4})", {"2"}, {"1", "3", "4"}},
      {R"({"enum":["ab","b"],"pattern":"^a"})", {R"("ab")"}, {R"("b")"}},
      {R"({"enum":[{"a":1},{"a":"x"},{}],"properties":{"a":{"type":"integer"}},"required":["a"]})",
       {R"({"a":1})"},
       {R"({"a":"x"})", "{}"}},
      {R"({"const":{"a":1,"b":2},"enum":[{"b":2,"a":1.0}]})", {R"({"a":1,"b":2})"}, {"{}"}},
      {R"({"enum":["2024-02-30","2024-02-28"],"format":"date"})",
       {R"("2024-02-28")"},
       {R"("2024-02-30")"}},
      {R"({"enum":[[1,1],[1,2]],"uniqueItems":true})", {"[1,2]"}, {"[1,1]"}},
      {R"({"enum":["a","b","c"],"not":{"const":"b"}})", {R"("a")", R"("c")"}, {R"("b")"}},
      {R"({"$defs":{"s":{"enum":["a","b"]}},"$ref":"#/$defs/s","enum":["b","c"]})",
       {R"("b")"},
       {R"("a")", R"("c")"}},
  });
}

TEST(Shapes, ExactlyOneOfAlternatives) {
  expect_shapes({
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
           "oneOf":[{"required":["a"]},{"required":["b"]}]})",
       {R"({"a":1})", R"({"b":1})"},
       {"{}", R"({"a":1,"b":1})"}},
      {R"({"oneOf":[{"type":"string","maxLength":3},{"type":"string","minLength":2}]})",
       {R"("a")", R"("abcd")"},
       {R"("ab")", R"("abc")", "1"}},
      {R"({"oneOf":[{"enum":["a","b"]},{"enum":["b","c"]}]})", {R"("a")", R"("c")"}, {R"("b")"}},
      {R"({"oneOf":[{"type":"string"},{"const":"x"}]})", {R"("y")", R"("xx")", "\"\""}, {R"("x")"}},
      {R"({"type":"string","oneOf":[{"pattern":"^a"},{"pattern":"b$"}]})",
       {R"("ac")", R"("cb")"},
       {R"("ab")", R"("c")"}},
      {R"({"type":"integer","oneOf":[{"minimum":3},{"maximum":5}]})",
       {"2", "6", "-7"},
       {"3", "4", "5"}},
      {R"({"oneOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],
           "additionalProperties":false},{"type":"object","properties":{"a":{"type":"integer"},
           "b":{"type":"integer"}},"required":["a"],"additionalProperties":false}]})",
       {R"({"a":1,"b":2})"},
       {R"({"a":1})"}},
      {R"({"oneOf":[{"properties":{"k":{"const":"x"},"v":{"type":"integer"}},"required":["k"]},
           {"properties":{"k":{"const":"y"},"w":{"type":"integer"}},"required":["k"]}]})",
       {R"({"k":"x","v":1})", R"({"k":"y","w":1})", R"({"k":"x"})"},
       {R"({"k":"x","w":1})", R"({"v":1})"}},
      {R"({"oneOf":[{"type":"null"},{"type":"string"},{"type":"array","items":{"type":"null"}}]})",
       {"null", R"("a")", "[null]"},
       {"1"}},
      {R"({"oneOf":[true,{"type":"null"}]})", {"1", "{}", "[]"}, {"null"}},
      {R"({"oneOf":[{"type":"integer"},{"type":"number","minimum":5}]})",
       {"1", "-7", "4", "5.5", "5.01"},
       {"5", "6", "5.0", "4.5", "5.00"}},
  });
  expect_wrong(
      {{R"({"oneOf":[{"type":"number"},{"type":"number","multipleOf":0.3}]})", {"oneOf"}}});
}

TEST(Shapes, WhatMustNotBe) {
  expect_shapes({
      {R"({"type":"object","properties":{"a":{"const":1},"b":{"const":1}},
           "not":{"required":["a","b"]}})",
       {"{}", R"({"a":1})", R"({"b":1})"},
       {R"({"a":1,"b":1})"}},
      {R"({"type":"integer","not":{"const":5}})", {"4", "6", "-5", "55"}, {"5"}},
      {R"({"type":"string","not":{"enum":["a","ab"]}})",
       {R"("b")", R"("abc")", "\"\""},
       {R"("a")", R"("ab")"}},
      {R"({"type":"string","not":{"pattern":"^x"}})", {R"("ax")", "\"\""}, {R"("x")", R"("xa")"}},
      {R"({"type":["string","null"],"not":{"type":"null"}})", {R"("a")"}, {"null"}},
      {R"({"not":{"type":["object","array"]}})", {"1", R"("a")", "null"}, {"{}", "[]"}},
      {R"({"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"],
           "not":{"properties":{"a":{"const":1}}}})",
       {R"({"a":2})"},
       {R"({"a":1})"}},
      {R"({"type":"array","items":{"type":"integer"},"not":{"maxItems":1}})",
       {"[1,2]", "[1,2,3]"},
       {"[]", "[1]"}},
      {R"({"type":"object","not":{"not":{"required":["a"]}}})", {R"({"a":1})"}, {"{}"}},
      {R"({"type":"boolean","not":{"const":true}})", {"false"}, {"true"}},
      {R"({"not":{"allOf":[{"const":1}]},"maximum":1})", {"0"}, {"1"}},
      {R"({"not":{"$ref":"#/$defs/q"},"type":"string","$defs":{"q":{"enum":["","a"]}}})",
       {R"("b")"},
       {""
        "",
        R"("a")"}},
      {R"({"type":"integer","not":{"enum":[0],"minItems":1}})", {"1"}, {"0"}},
      {R"({"type":"integer","not":{"multipleOf":3}})", {"4", "-5", "10"}, {"3", "0", "-12", "300"}},
      {R"({"type":"number","not":{"type":"integer"}})",
       {"1.5", "-0.25", "0.50"},
       {"1", "1.0", "0", "1.5e1", "0.9999999999999999999"}},
      {R"({"type":"number","not":{"multipleOf":2},"allOf":[{"not":{"multipleOf":3}}]})",
       {"5", "2.5", "7.0"},
       {"2", "9", "4.0", "0"}},
      {R"({"type":"object","not":{"anyOf":[{"required":["a"]},{"required":["b"]}]},
           "properties":{"a":{},"b":{},"c":{"const":1}}})",
       {"{}", R"({"c":1})"},
       {R"({"a":1})", R"({"b":1})"}},
      {R"({"type":"object","properties":{"kind":{"enum":["a","b"]},"x":{"type":"integer"}},
           "required":["kind"],"if":{"properties":{"kind":{"const":"a"}}},
           "then":{"required":["x"]},"else":{"properties":{"x":false}}})",
       {R"({"kind":"a","x":1})", R"({"kind":"b"})"},
       {R"({"kind":"a"})", R"({"kind":"b","x":1})"}},
      {R"({"properties":{"a":{"const":1},"b":{"const":1}},"dependentRequired":{"a":["b"]}})",
       {"{}", R"({"b":1})", R"({"a":1,"b":1})"},
       {R"({"a":1})"}},
      {R"({"properties":{"a":{"const":1},"b":{"enum":[1,2]}},
           "dependencies":{"a":{"properties":{"b":{"const":2}},"required":["b"]}}})",
       {R"({"b":1})", R"({"a":1,"b":2})"},
       {R"({"a":1})", R"({"a":1,"b":1})"}},
  });
}

TEST(Shapes, CirclesWithKeywordsBesideThem) {
  expect_shapes({
      {R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},
           "next":{"$ref":"#/$defs/n","nullable":true}},"required":["v","next"]}},
           "$ref":"#/$defs/n"})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
       {R"({"v":1})", "null"}},
      {R"({"$defs":{"n":{"properties":{"c":{"type":"array","items":{"$ref":"#/$defs/n",
           "required":["c"]}}}}},"$ref":"#/$defs/n","type":"object"})",
       {"{}", R"({"c":[{"c":[]}]})", R"({"c":[{"c":[{"c":[]}]}]})"},
       {R"({"c":[{}]})"}},
      {R"({"$defs":{"base":{"properties":{"id":{"type":"integer"},
           "child":{"allOf":[{"$ref":"#/$defs/base"},{"required":["id"]}]}}}},
           "allOf":[{"$ref":"#/$defs/base"},{"required":["child"]}]})",
       {R"({"child":{"id":1}})", R"({"id":1,"child":{"id":1,"child":{"id":2}}})"},
       {R"({"child":{}})", R"({"id":1})"}},
      // What was asked of items grows with each level, until it is the same again.
      {R"({"type":"array","items":{"$ref":"#"},"allOf":[{"items":{}},{"items":{"maxItems":1}}]})",
       {"[]", "[[],[]]", "[[[]]]"},
       {"[[[],[]]]", "[1]"}},
      {R"({"properties":{"a":{"$ref":"#","minProperties":1}},"type":"object",
           "additionalProperties":{"type":"integer"}})",
       {"{}", R"({"a":{"b":1}})", R"({"a":{"a":{"c":1}}})"},
       {R"({"a":{}})"}},
      {R"({"$anchor":"tree","type":"array","items":{"$ref":"#tree"}})", {"[[],[[]]]"}, {"[1]"}},
      {R"({"$id":"https://x.org/a.json","$defs":{"b":{"$id":"b.json","type":"integer"},
           "c":{"$id":"c.json","$defs":{"d":{"type":"null"}},"$ref":"#/$defs/d"}},
           "prefixItems":[{"$ref":"b.json"},{"$ref":"https://x.org/a.json#/$defs/b"},
           {"$ref":"c.json"}]})",
       {"[1,2,null]"},
       {"[1,2,3]"}},
      {R"({"$dynamicAnchor":"node","type":"object","properties":{"c":{"$dynamicRef":"#node"}}})",
       {R"({"c":{"c":{}}})"},
       {R"({"c":1})"}},
  });
}

TEST(Shapes, ObjectsByNamesAndNumbers) {
  expect_shapes({
      {R"({"patternProperties":{"^x-":{"type":"integer"},"y$":{"minimum":5}},
           "additionalProperties":false})",
       {"{}", R"({"x-a":1})", R"({"x-y":5,"y":7})"},
       {R"({"x-y":4})", R"({"a":1})", R"({"x-a":"b"})"}},
      {R"({"properties":{"x-a":{"enum":[1,"a"]},"b":{"const":2}},
           "patternProperties":{"^x-":{"type":"integer"}}})",
       {R"({"x-a":1,"b":2,"x-b":3})"},
       {R"({"x-a":"a"})", R"({"x-b":"a"})", R"({"c":1})", R"({"x-b":1,"b":2})"}},
      {R"({"patternProperties":{"^a":{"type":"integer"}},"additionalProperties":{"type":"null"}})",
       {R"({"a":1,"b":null})"},
       {R"({"a":null})", R"({"b":1})"}},
      {R"({"type":"object","propertyNames":{"pattern":"^[a-z]{1,2}$"},
           "additionalProperties":{"type":"integer"}})",
       {"{}", R"({"ab":1})"},
       {R"({"abc":1})", R"({"A":1})", R"({"":1})"}},
      {R"({"propertyNames":{"enum":["a","b"]},"additionalProperties":{"type":"integer"}})",
       {"{}", R"({"a":1,"b":2})", R"({"b":2})"},
       {R"({"c":1})", R"({"a":1,"a":1})", R"({"a":"x"})"}},
      {R"({"propertyNames":{"format":"uuid"},"additionalProperties":{"type":"integer"}})",
       {R"({"01234567-89ab-4def-8123-456789abcdef":1})"},
       {R"({"a":1})"}},
      {R"({"properties":{"a":{},"bb":{}},"propertyNames":{"maxLength":1}})",
       {R"({"a":1})"},
       {R"({"bb":1})"}},
      {R"({"properties":{"a":{},"b":{},"c":{}},"minProperties":2})",
       {R"({"a":1,"b":1})", R"({"b":1,"c":1})", R"({"a":1,"b":1,"c":1})"},
       {"{}", R"({"a":1})", R"({"c":1})"}},
      {R"({"properties":{"a":{},"b":{},"c":{}},"required":["c"],"maxProperties":2})",
       {R"({"a":1,"c":1})", R"({"c":1})"},
       {R"({"a":1,"b":1,"c":1})", R"({"a":1,"b":1})"}},
      {R"({"type":"object","minProperties":1})", {R"({"a":1})", R"({"a":1,"b":2})"}, {"{}"}},
      {R"({"type":"object","minProperties":2,"maxProperties":2})",
       {R"({"a":1,"b":2})"},
       {"{}", R"({"a":1})", R"({"a":1,"a":2})", R"({"a":1,"b":2,"c":3})"}},
      {R"({"type":"object","maxProperties":0})", {"{}"}, {R"({"a":1})"}},
      {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       {"{}", R"({"a":1})"},
       {R"({"b":1})"}},
      {R"({"allOf":[{"properties":{"b":{}}},{"properties":{"a":{}}}],"properties":{"c":{}}})",
       {R"({"b":1,"a":1,"c":1})"},
       {R"({"c":1,"a":1})", R"({"a":1,"b":1})"}},
      {R"({"properties":{"c":{}},"$ref":"#/$defs/p","$defs":{"p":{"properties":{"a":{},"c":{}}}}})",
       {R"({"c":1,"a":1})"},
       {R"({"a":1,"c":1})"}},
      {R"({"allOf":[{"properties":{"a":{}}}],"anyOf":[{"properties":{"b":{}},"required":["b"]},
           {"properties":{"c":{}}}],"unevaluatedProperties":false})",
       {R"({"a":1,"b":1})", R"({"a":1,"c":1})"},
       {R"({"d":1})"}},
  });
}

TEST(Shapes, ListsByItemsAndNumbers) {
  expect_shapes({
      {R"({"items":{"enum":["a","b","c"]},"uniqueItems":true})",
       {"[]", R"(["b","a"])", R"(["c","a","b"])"},
       {R"(["a","a"])", R"(["a","b","a"])"}},
      {R"({"items":{"enum":[1,2,3,4,5,6,7,8]},"uniqueItems":true,"minItems":2,"maxItems":3})",
       {"[1,2]", "[2,5,8]"},
       {"[1]", "[2,1]", "[1,1]", "[1,2,3,4]"}},
      {R"({"items":{"type":"boolean"},"uniqueItems":true})",
       {"[false,true]", "[true]"},
       {"[true,true]"}},
      {R"({"items":{"type":"string"},"uniqueItems":true})", {"[]", R"(["a"])"}, {R"(["a","a"])"}},
      {R"({"items":{"type":"string"},"uniqueItems":true,"minItems":2})",
       {R"(["xa","xb"])"},
       {R"(["a"])", R"(["a","a"])"}},
      {R"({"items":{"type":"integer","minimum":1,"maximum":3},"uniqueItems":true,"minItems":2})",
       {"[3,1]", "[1,2,3]"},
       {"[1,1]", "[1]", "[4,1]"}},
      {R"({"items":{"type":"integer"},"uniqueItems":true,"minItems":2})",
       {"[0,1]", "[5,7,200]"},
       {"[1]", "[1,1]", "[2,1]"}},
      {R"({"items":{"oneOf":[{"const":1},{"const":2}]},"uniqueItems":true})", {"[2,1]"}, {"[1,1]"}},
      {R"({"items":[{"type":"integer"},{"type":"string"}],"additionalItems":{"type":"null"}})",
       {R"([1,"a"])", R"([1,"a",null])"},
       {"[1]", R"([1,"a",1])"}},
      {R"({"items":[{"const":1}],"additionalItems":false})", {"[1]"}, {"[1,1]"}},
      {R"({"allOf":[{"prefixItems":[{}]},{"items":{"type":"null"}}]})", {"[null]"}, {"[1]"}},
      {R"({"items":{"type":["integer","string"]},"contains":{"type":"string"}})",
       {R"(["a"])", R"(["a",1])"},
       {"[]", "[1]"}},
      {R"({"prefixItems":[{"type":"string"}],"items":{"type":"integer"},"contains":{"const":1}})",
       {R"(["a",1])", R"(["a",1,2])"},
       {R"(["a"])", R"(["a",2])"}},
      {R"({"items":{"type":"integer"},"contains":{"const":3},"minContains":2,"maxItems":3})",
       {"[3,3]", "[3,3,1]"},
       {"[3]", "[1,1,1]"}},
      {R"({"type":"array","prefixItems":[{"type":"string"},{"type":"null"}],"minContains":2,
           "contains":{"type":"string"},"maxItems":3})",
       {R"(["a",null,"b"])"},
       {R"(["a",null])", R"(["a"])", "[]"}},
  });
  // A tuple of fewer items than must be contained.
  for (const char* schema :
       {R"({"type":"array","prefixItems":[{}],"contains":{},"maxItems":0})",
        R"({"prefixItems":[{}],"oneOf":[{"not":{"minItems":1},"contains":{}}]})",
        R"({"type":"array","items":[{}],"contains":{},"minContains":2,"maxItems":1})"}) {
    expect_wrong({{schema, {"nothing is between"}}});
  }
}

TEST(Shapes, ListedValuesBesideKeywordsOfOtherTypes) {
  expect_shapes({
      {R"({"properties":{},"enum":[{"b":false},{"a":1,"b":2},false],
           "dependentRequired":{"b":["a"]}})",
       {R"({"a":1,"b":2})", "false"},
       {R"({"b":false})"}},
      {R"({"properties":{},"dependentRequired":{"a":["c"]},"required":["c"],
           "not":{"dependentSchemas":{"a":{"enum":[]}}}})",
       {R"({"c":1,"a":2})"},
       {R"({"c":1})", R"({"a":1})"}},
      {R"({"properties":{"b":{"multipleOf":2,"enum":[{}]}},
           "oneOf":[{"type":"object"},{"required":["b"]}]})",
       {"{}"},
       {R"({"b":{}})"}},
  });
  expect_wrong({{R"({"required":["b"],"not":{},"properties":{"b":{"const":null,"format":"date"}}})",
                 {"no text satisfies"}}});
}

TEST(Shapes, MalformedKeywordsAreNamedWhereverTheyStand) {
  for (const bool strict : {true, false}) {
    for (const char* schema :
         {R"({"type":"object","minLength":"x"})", R"({"$defs":{"a":{"minLength":"x"}}})",
          R"({"$ref":"#/$defs/a","minLength":"x","$defs":{"a":{}}})",
          R"({"type":"null","items":{"minLength":"x"}})",
          R"({"definitions":{"b":{"anyOf":[{"properties":{"c":{"minLength":"x"}}}]}}})"}) {
      expect_error({"'minLength'", "x"},
                   [&] { Constraint::json_schema(Tokenizer::bytes(), 256, schema, strict); });
    }
  }
  expect_wrong({
      {R"({"type":"null","required":"a"})", {"'required'", "list of strings"}},
      {R"({"type":"null","properties":[]})", {"'properties'", "object"}},
      {R"({"type":"null","enum":1})", {"'enum'", "list"}},
      {R"({"type":"null","multipleOf":0})", {"'multipleOf'", "above 0"}},
      {R"({"type":"null","dependentRequired":{"a":"b"}})", {"'dependentRequired'"}},
      {R"({"$defs":{"a":{"type":"text"}}})", {"#/$defs/a", "'type'", "text"}},
      {R"({"$defs":{"a":1}})", {"#/$defs/a", "expected an object"}},
      {R"({"not":3})", {"#/not", "expected an object"}},
  });
}

TEST(Shapes, WordsOfNoVocabularyAreNotes) {
  expect_shapes({{R"({"type":"null","_format":1,"x-a":2,"markdownDescription":"d","minlength":"x",
                      "deprecated":true,"discriminator":{"propertyName":"k"},"links":[]})",
                  {"null"},
                  {}}});
}

TEST(Shapes, WhatIsNotStrictPassesOverWhatCannotBeKeptTo) {
  const auto loose = [](const char* schema) {
    return Constraint::json_schema(Tokenizer::bytes(), 256, schema, false);
  };
  EXPECT_TRUE(accepts(loose(R"({"type":"integer","disallow":"null"})"), "1"));
  EXPECT_TRUE(accepts(loose(R"({"type":"array","contains":{},"maxContains":2})"), "[1]"));
  EXPECT_TRUE(accepts(loose(R"({"type":"number","not":{"multipleOf":0.3}})"), "3"));
  EXPECT_TRUE(accepts(loose(R"({"type":"string","pattern":"\\bword"})"), R"("word")"));
  const Constraint::Function functions[] = {
      {"f", R"({"properties":{"a":{"disallow":"null"}}})", false}};
  EXPECT_TRUE(accepts(Constraint::json_call(Tokenizer::bytes(), 256, functions),
                      R"({"name":"f","arguments":{"a":1}})"));
}

}  // namespace
}  // namespace anser
