// Calls of functions: one of the names, and arguments that this one's parameters allow.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "grammar/constraints.h"
#include "grammar/validate.h"
#include "support/errors.h"

namespace anser {
namespace {

using namespace support;
using Functions = std::vector<Constraint::Function>;
using Json = nlohmann::json;

std::shared_ptr<const Constraint> constraint_of(const Functions& functions) {
  return Constraint::json_call(Tokenizer::bytes(), 256, functions);
}

// Of a function `f` with these parameters.
bool takes(const std::string& parameters, const std::string& arguments) {
  return accepts(constraint_of({{"f", parameters}}),
                 R"({"name":"f","arguments":)" + arguments + "}");
}

TEST(Call, TheNameDecidesTheArguments) {
  const auto constraint = constraint_of(
      {{"time", ""},
       {"weather",
        R"({"type":"object","properties":{"days":{"type":"integer"}},"required":["days"]})"},
       {"we\"ther", R"({"type":"object","properties":{"t":{"const":1}}})"}});
  for (const char* text :
       {R"({"name":"time","arguments":{}})", R"( {"name":"time","arguments":{}})",
        R"({"name":"weather","arguments":{"days":3}})",
        R"({"name":"we\"ther","arguments":{"t":1}})", R"({"name":"we\"ther","arguments":{}})"}) {
    EXPECT_TRUE(accepts(constraint, text)) << text;
  }
  for (const char* text :
       {R"({"name":"tim","arguments":{}})", R"({"name":"time"})",
        R"({"arguments":{},"name":"time"})", R"({"name":"time","arguments":{"days":3}})",
        R"({"name":"weather","arguments":{}})", R"({"name":"weather","arguments":{"t":1}})",
        R"({"name":"time","arguments":null})", R"({"name":"time","arguments":{},"x":1})",
        R"({"name":"time","arguments":{}} )", R"([])", R"({"name": "time","arguments":{}})",
        R"({"name":"time", "arguments":{}})", "{\n\"name\":\"time\",\"arguments\":{}}"}) {
    EXPECT_FALSE(accepts(constraint, text)) << text;
  }
}

// Two roots, whose definitions have one name.
TEST(Call, ReferencesStayWithinTheirFunction) {
  const auto constraint = constraint_of(
      {{"a",
        R"({"$defs":{"x":{"const":"of a"}},"type":"object","properties":{"x":{"$ref":"#/$defs/x"}},
                 "required":["x"]})"},
       {"b",
        R"({"$defs":{"x":{"const":"of b"}},"type":"object","properties":{"x":{"$ref":"#/$defs/x"}},
                 "required":["x"]})"},
       {"tree", R"({"type":"object","properties":{"leaf":{"enum":[1,{"$ref":"#/nowhere"}]},
                    "$ref":{"type":"array","items":{"$ref":"#"}}}})"}});
  EXPECT_TRUE(accepts(constraint, R"({"name":"a","arguments":{"x":"of a"}})"));
  EXPECT_TRUE(accepts(constraint, R"({"name":"b","arguments":{"x":"of b"}})"));
  EXPECT_FALSE(accepts(constraint, R"({"name":"a","arguments":{"x":"of b"}})"));
  EXPECT_FALSE(accepts(constraint, R"({"name":"b","arguments":{"x":"of a"}})"));
  // Its own root, not the call; and what only looks like a reference is none.
  EXPECT_TRUE(accepts(constraint,
                      R"({"name":"tree","arguments":{"leaf":1,"$ref":[{"$ref":[]},{"leaf":1}]}})"));
  EXPECT_TRUE(accepts(constraint, R"({"name":"tree","arguments":{"leaf":{"$ref":"#/nowhere"}}})"));
  EXPECT_FALSE(accepts(constraint, R"({"name":"tree","arguments":{"$ref":[{"name":"tree"}]}})"));
}

TEST(Call, ArgumentsAreAnObject) {
  for (const char* parameters :
       {"{}", R"({"type":"object"})", R"({"type":["object","null"]})", R"({"title":"t"})",
        R"({"type":"object","nullable":true})", R"({"anyOf":[{"type":"object"},{"type":"null"}]})",
        R"({"type":"object","anyOf":[{"type":"object","nullable":true}]})",
        R"({"$ref":"#/$defs/a","$defs":{"a":{"type":["object","string"]}}})",
        R"({"allOf":[{"type":["object","array"]}]})"}) {
    EXPECT_TRUE(takes(parameters, R"({"a":[1]})")) << parameters;
    EXPECT_TRUE(takes(parameters, "{}")) << parameters;
    for (const char* other : {"null", "\"\"", "[]", "1"}) {
      EXPECT_FALSE(takes(parameters, other)) << parameters << other;
    }
  }
  EXPECT_TRUE(takes(R"({"enum":[{"a":1},null]})", R"({"a":1})"));
  EXPECT_FALSE(takes(R"({"enum":[{"a":1},null]})", "null"));
  // Without parameters, or with none listed, there are none.
  for (const char* none : {"", R"({"type":"object","properties":{}})"}) {
    EXPECT_TRUE(takes(none, "{}")) << none;
    EXPECT_FALSE(takes(none, R"({"a":1})")) << none;
  }
  // Where the root comes again it is as it was written.
  const char* list =
      R"({"type":["object","null"],"properties":{"next":{"$ref":"#"}},"required":["next"]})";
  EXPECT_TRUE(takes(list, R"({"next":{"next":null}})"));
  EXPECT_FALSE(takes(list, "null"));
}

TEST(Call, ErrorsNameTheFunctionAndThePlace) {
  const std::pair<Functions, std::vector<std::string>> wrong[] = {
      {{}, {"no function"}},
      {{{"f", R"({"type":"string"})"}}, {"`f`", "#", "arguments are an object"}},
      {{{"f", "true"}}, {"`f`", "expected an object"}},
      {{{"f", "{"}}, {"`f`", "not valid JSON at byte 2"}},
      {{{"\xff", ""}}, {"`\\xff`", "not valid UTF-8"}},
      {{{"f", ""}, {"g", R"({"type":"object","properties":{"a":{"disallow":"null"}}})"}},
       {"`g`", "#/properties/a", "'disallow' is not supported"}},
      {{{"f", ""}, {"g", R"({"type":"object","properties":{"a":{"$ref":"#/$defs/x"}}})"}},
       {"`g`", "#/properties/a", "points at nothing"}},
      // Another's definitions are none of its own.
      {{{"f", R"({"$defs":{"x":{}},"type":"object"})"}, {"g", R"({"$ref":"#/$defs/x"})"}},
       {"`g`", "points at nothing"}},
      {{{"f", R"({"type":"object","properties":{"a":false},"required":["a"]})"}},
       {"`f`", "no text satisfies"}},
      {{{"f", ""}, {"g", R"({"type":"object","properties":{"a":false},"required":["a"]})"}},
       {"`g`", "no text satisfies"}},
      {{{"f", ""}, {"g", R"({"type":"object","allOf":[{"type":"array"}]})"}},
       {"`g`", "no text satisfies"}},
  };
  for (const auto& [functions, words] : wrong) {
    SCOPED_TRACE(functions.empty() ? "none" : functions.back().parameters);
    expect_error(words, [&, all = functions] { constraint_of(all); });
  }
}

TEST(Call, AThousandSeedsAreCalls) {
  const Functions functions = {
      {"time", ""},
      {"walk",
       R"({"type":"object","properties":{"way":{"type":"string","minLength":1,"maxLength":6},
          "steps":{"type":"integer","minimum":1,"maximum":300}},"required":["way"]})"},
      {"plant", R"({"$defs":{"node":{"type":"object","properties":{"value":{"type":"number",
          "minimum":-1.5,"exclusiveMaximum":10},"children":{"type":"array","maxItems":2,
          "items":{"$ref":"#/$defs/node"}}},"required":["value","children"]}},"$ref":"#/$defs/node"})"},
      {"paint",
       R"({"anyOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},
          "required":["kind"]},{"type":"object","properties":{"kind":{"const":"b"},"y":{"enum":
          ["red","gr\u00fcn",7,null]}},"required":["kind","y"]}]})"}};
  const auto constraint = constraint_of(functions);
  std::vector<int> seen(functions.size());
  for (uint32_t seed = 1; seed <= 1000; ++seed) {
    std::mt19937 random(seed);
    ConstraintMatcher matcher(constraint);
    std::string text;
    while (matcher.open()) {
      const std::span<const uint64_t> allowed = matcher.allowed();
      std::string bytes;
      for (int byte = 0; byte < 256; ++byte) {
        if (allowed[size_t(byte) / 64] >> byte % 64 & 1) bytes += char(byte);
      }
      ASSERT_FALSE(bytes.empty()) << text;
      text += bytes[random() % bytes.size()];
      ASSERT_TRUE(matcher.accept({&text.back(), 1}));
    }
    EXPECT_TRUE(matcher.complete()) << text;
    const Json call = Json::parse(text, nullptr, false);
    ASSERT_TRUE(call.is_object() && call.size() == 2) << text;
    const auto of =
        std::ranges::find(functions, call["name"].get<std::string>(), &Constraint::Function::name);
    ASSERT_NE(of, functions.end()) << text;
    ++seen[size_t(of - functions.begin())];
    const Json schema = of->parameters.empty() ? Json({{"additionalProperties", false}})
                                               : Json::parse(of->parameters);
    EXPECT_TRUE(call["arguments"].is_object() && Validator(schema).valid(call["arguments"]))
        << text;
  }
  for (const int count : seen) EXPECT_GT(count, 100);
}

// 128 with a name that begins alike, as a client may send: quick, and none is dropped.
TEST(Call, ManyFunctions) {
  Functions functions;
  for (int i = 0; i < 128; ++i) {
    const std::string key = "key" + std::to_string(i);
    functions.push_back(
        {"function_" + std::to_string(i),
         R"({"type":"object","properties":{")" + key + R"(":{}},"required":[")" + key + R"("]})"});
  }
  const auto constraint = constraint_of(functions);
  EXPECT_TRUE(accepts(constraint, R"({"name":"function_12","arguments":{"key12":[1]}})"));
  EXPECT_TRUE(accepts(constraint, R"({"name":"function_127","arguments":{"key127":"x"}})"));
  EXPECT_FALSE(accepts(constraint, R"({"name":"function_127","arguments":{"key12":"x"}})"));
}

}  // namespace
}  // namespace anser
