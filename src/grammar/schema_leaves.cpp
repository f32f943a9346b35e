// Strings and numbers.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/cut_text.h"
#include "grammar/pattern.h"
#include "grammar/schema_compiler.h"
#include "grammar/schema_values.h"

namespace anser {
namespace {

// Formats that a text is held to. Others say nothing about it, as JSON Schema has it.
struct Format {
  std::string_view name, pattern;
};
#define ANSER_DATE                                                                                 \
  "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-" \
  "9]|1[0-9]|2[0-8]))"
#define ANSER_TIME \
  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
constexpr Format kFormats[] = {
    {"date", "^" ANSER_DATE "$"},
    {"time", "^" ANSER_TIME "$"},
    {"date-time", "^" ANSER_DATE "T" ANSER_TIME "$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"ipv4",
     "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-"
     "9])$"},
};
#undef ANSER_DATE
#undef ANSER_TIME

}  // namespace

RuleId SchemaCompiler::string_rule(const Schema& schema, const std::string& pointer) {
  if (schema.contains("\x01"
                      "also"))
    fail_at(pointer, "several patterns and formats meet here");
  const Counts length = schema_counts(schema, "minLength", "maxLength", pointer);
  std::string pattern;
  if (schema.contains("format")) {
    if (!schema["format"].is_string()) fail_at(pointer, "'format' is no string");
    const auto format =
        std::ranges::find(kFormats, schema["format"].get<std::string>(), &Format::name);
    if (format != std::end(kFormats)) pattern = format->pattern;
  }
  if (schema.contains("pattern")) {
    if (!schema["pattern"].is_string()) fail_at(pointer, "'pattern' is no string");
    if (!pattern.empty()) {
      fail_at(pointer, "'pattern' beside this 'format' is not supported; keep one of them");
    }
    pattern = schema["pattern"].get<std::string>();
  }
  const bool has_pattern = schema.contains("pattern") || !pattern.empty();
  if (has_pattern && length.limited()) {
    fail_at(pointer,
            "'minLength' and 'maxLength' beside a 'pattern' or a 'format' are not supported; write "
            "the length into the pattern, as in ^[a-z]{2,8}$");
  }
  if (!has_pattern && !length.limited()) return json_.string();

  const RuleId rule = builder_.add_rule();
  const StateId inside = builder_.add_state(rule), close = builder_.add_state(rule),
                end = builder_.add_state(rule);
  builder_.finish_at(end);
  builder_.add_text(builder_.start(rule), "\"", inside);
  builder_.add_text(close, "\"", end);
  if (has_pattern) {
    add_pattern(builder_, json_, inside, pattern, fmt::format("the schema at {}", pointer), close);
  } else {
    const StateId next = builder_.add_state(rule);
    builder_.set_counter(rule, length.least, length.most);
    builder_.add_enough(inside, close);
    builder_.add_again(inside, next);
    json_.add_character(next, inside);
  }
  return rule;
}

std::optional<Bound> SchemaCompiler::bound(const Schema& schema, const char* keyword,
                                           const char* exclusive, bool lower,
                                           const std::string& pointer) {
  std::optional<Bound> tightest;
  double tightest_value = 0;
  for (const char* name : {keyword, exclusive}) {
    if (!schema.contains(name)) continue;
    const Schema& value = schema[name];
    if (!value.is_number()) {
      fail_at(pointer, fmt::format("'{}' is {}, expected a number (draft 4's boolean is not "
                                   "supported)",
                                   name, cut_text(value.dump())));
    }
    const double number = value.get<double>();
    // Beyond what is written anyhow.
    if (lower ? number <= -1e18 : number >= 1e18) continue;
    const std::optional<Decimal> decimal = parse_decimal(value.dump());
    if (!decimal) {
      fail_at(pointer, fmt::format("'{}' is {}; numbers of more than 15 digits are not supported "
                                   "here",
                                   name, cut_text(value.dump())));
    }
    const bool tighter = !tightest || (lower ? number >= tightest_value : number <= tightest_value);
    if (tighter) tightest = {*decimal, name == exclusive}, tightest_value = number;
  }
  return tightest;
}

RuleId SchemaCompiler::number_rule(const std::string& type, const Schema& schema,
                                   const std::string& pointer) {
  if (schema.contains("\x01"
                      "also"))
    fail_at(pointer, "several values of 'multipleOf' meet here");
  if (schema.contains("multipleOf")) fail_at(pointer, "'multipleOf' is not supported");
  DecimalRange range;
  range.integer = type == "integer";
  range.low = bound(schema, "minimum", "exclusiveMinimum", true, pointer);
  range.high = bound(schema, "maximum", "exclusiveMaximum", false, pointer);
  if (!range.low && !range.high) return range.integer ? json_.integer() : json_.number();
  const RuleId rule = builder_.add_rule();
  const StateId end = builder_.add_state(rule);
  builder_.finish_at(end);
  add_decimals(builder_, builder_.start(rule), range, end);
  return rule;
}

}  // namespace anser
