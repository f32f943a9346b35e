#include "grammar/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anser/error.h"
#include "grammar/decimal_range.h"
#include "grammar/json_rules.h"
#include "grammar/keywords.h"
#include "grammar/pattern.h"
#include "grammar/schema_text.h"

namespace anser {
namespace {

// A schema as it is followed, merges included: 4 MB, a second at the most.
constexpr size_t kMaxMerged = 4 << 20;
constexpr int kMaxMerges = 64;  // of one place
constexpr uint32_t kMaxCount = 1'000'000'000;

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

const char* const kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

class Compiler {
 public:
  explicit Compiler(const Schema& root) : root_(root), json_(builder_) {}

  Grammar compile() {
    const RuleId whole = builder_.add_rule();
    const StateId begun = builder_.add_state(whole), end = builder_.add_state(whole);
    builder_.add_call(builder_.start(whole), json_.space(), begun);
    builder_.add_call(begun, rule_of(root_, "#"), end);
    builder_.finish_at(end);
    // Rules refer to rules that are not filled yet; so nothing here recurs into the schema.
    for (; !open_.empty(); open_.pop_front()) fill(open_.front());
    return std::move(builder_).build(whole);
  }

 private:
  struct Open {
    RuleId rule;
    const Schema* schema;  // of root_ or merged_
    std::string pointer;
  };

  RuleId rule_of(const Schema& schema, const std::string& pointer) {
    const auto [at, is_new] = rules_.try_emplace(&schema, 0);
    if (is_new) {
      at->second = builder_.add_rule();
      open_.push_back({at->second, &schema, pointer});
    }
    return at->second;
  }

  [[noreturn]] static void fail(const std::string& pointer, const std::string& what) {
    throw Error(fmt::format("the schema at {}: {}", pointer, what));
  }

  // ---- keywords that stand for other schemas ----

  const Schema& keep(Schema&& schema, const std::string& pointer) {
    merged_bytes_ += schema.dump().size();
    if (merged_bytes_ > kMaxMerged) {
      fail(pointer, "allOf, anyOf and $ref beside other keywords multiply to too much");
    }
    merged_.push_back(std::move(schema));
    return merged_.back();
  }

  const Schema& target(const Schema& schema, const std::string& pointer) {
    const Schema& reference = schema["$ref"];
    if (!reference.is_string()) fail(pointer, "'$ref' is no string");
    const Schema& other = resolve_reference(root_, reference.get<std::string>(),
                                            fmt::format("the schema at {}", pointer));
    if (other.is_object()) {
      check_keywords(other, fmt::format("the schema at {}", reference.get<std::string>()));
    } else if (!other.is_boolean()) {
      fail(pointer,
           fmt::format("the reference {} points at something that is no schema", reference.dump()));
    }
    return other;
  }

  // Until neither $ref nor allOf is left beside other keywords.
  const Schema* flatten(const Schema* schema, const std::string& pointer) {
    for (int merges = 0;; ++merges) {
      if (merges > kMaxMerges) fail(pointer, "allOf and $ref lead in a circle, or too far");
      if (schema->is_boolean()) return schema;
      if (!schema->is_object()) fail(pointer, "expected an object or a boolean");
      check_keywords(*schema, fmt::format("the schema at {}", pointer));
      const Schema limits = assertions(*schema);
      if (limits.contains("allOf")) {
        const Schema& parts = limits["allOf"];
        if (!parts.is_array()) fail(pointer, "'allOf' is no list");
        Schema all = assertions(limits, "allOf");
        for (const Schema& part : parts) {
          if (part.is_object())
            check_keywords(part, fmt::format("the schema at {}/allOf", pointer));
          if (!part.is_object() && !part.is_boolean()) {
            fail(pointer, "'allOf' has something that is no schema");
          }
          all = merge_schemas(all, part, fmt::format("the schema at {}", pointer));
        }
        schema = &keep(std::move(all), pointer);
      } else if (limits.contains("$ref") && limits.size() > 1) {
        const Schema& other = target(limits, pointer);
        schema = &keep(merge_schemas(assertions(limits, "$ref"), other,
                                     fmt::format("the schema at {}", pointer)),
                       pointer);
      } else {
        return schema;
      }
    }
  }

  void fill(const Open& open) {
    const std::string& pointer = open.pointer;
    const Schema& schema = *flatten(open.schema, pointer);
    const StateId start = builder_.start(open.rule), end = builder_.add_state(open.rule);
    builder_.finish_at(end);
    if (schema.is_boolean()) {
      if (schema == true) builder_.add_call(start, json_.any(), end);
      return;
    }
    if (schema.contains("$ref")) {
      const std::string reference =
          schema["$ref"].is_string() ? schema["$ref"].get<std::string>() : "";
      builder_.add_call(start, rule_of(target(schema, pointer), reference), end);
      return;
    }
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return fill_choice(schema, keyword, pointer, start, end);
    }
    if (schema.contains("enum") || schema.contains("const")) {
      return fill_values(schema, pointer, start, end);
    }
    for (const std::string& type : types(schema, pointer)) {
      builder_.add_call(start, rule_of_type(type, schema, pointer), end);
    }
  }

  void fill_choice(const Schema& schema, const char* keyword, const std::string& pointer,
                   StateId start, StateId end) {
    const Schema& choices = schema[keyword];
    if (!choices.is_array() || choices.empty()) {
      fail(pointer, fmt::format("'{}' is no list, or an empty one", keyword));
    }
    const Schema rest = assertions(schema, keyword);
    const std::string path = child_pointer(pointer, keyword);
    for (size_t i = 0; i < choices.size(); ++i) {
      const std::string at = child_pointer(path, std::to_string(i));
      if (rest.empty()) {
        builder_.add_call(start, rule_of(choices[i], at), end);
        continue;
      }
      const Schema& choice = *flatten(&choices[i], at);
      const Schema& followed =
          choice.is_object() && choice.contains("$ref") ? target(choice, at) : choice;
      if (!followed.is_object() && !followed.is_boolean()) fail(at, "expected a schema");
      const Schema& merged =
          keep(merge_schemas(rest, followed, fmt::format("the schema at {}", at)), at);
      builder_.add_call(start, rule_of(merged, at), end);
    }
  }

  // ---- types ----

  static bool is_type(const Schema& value, std::string_view type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "number") return value.is_number();
    if (type == "integer") return value.is_number_integer();
    if (type == "boolean") return value.is_boolean();
    return value.is_null();
  }

  // Where none is given: what the other keywords speak of.
  static std::vector<std::string> types(const Schema& schema, const std::string& pointer) {
    std::vector<std::string> list;
    if (schema.contains("type")) {
      const Schema& given = schema["type"];
      const auto take = [&](const Schema& type) {
        if (!type.is_string() ||
            std::ranges::find(kTypes, type.get<std::string>()) == std::end(kTypes)) {
          fail(pointer,
               fmt::format("'type' is {}, expected object, array, string, number, integer, "
                           "boolean, null, or a list of these",
                           type.dump()));
        }
        list.push_back(type);
      };
      if (given.is_array()) {
        for (const Schema& type : given) take(type);
      } else {
        take(given);
      }
    } else {
      const auto has = [&](std::initializer_list<const char*> keywords) {
        return std::ranges::any_of(keywords, [&](const char* k) { return schema.contains(k); });
      };
      if (has({"properties", "required", "additionalProperties", "minProperties"})) {
        list.push_back("object");
      }
      if (has({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})) {
        list.push_back("array");
      }
      if (has({"minLength", "maxLength", "pattern", "format"})) list.push_back("string");
      if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) {
        list.push_back("number");
      }
      if (list.empty()) list.assign(std::begin(kTypes), std::end(kTypes));
    }
    if (flag(schema, "nullable", pointer)) list.push_back("null");
    std::ranges::sort(list);
    if (std::ranges::find(list, "number") != list.end()) std::erase(list, "integer");
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
  }

  RuleId rule_of_type(const std::string& type, const Schema& schema, const std::string& pointer) {
    if (type == "string") return string_rule(schema, pointer);
    if (type == "number" || type == "integer") return number_rule(type, schema, pointer);
    if (type == "object") return object_rule(schema, pointer);
    if (type == "array") return array_rule(schema, pointer);
    const RuleId rule = builder_.add_rule();
    const StateId end = builder_.add_state(rule);
    builder_.finish_at(end);
    if (type == "null") builder_.add_text(builder_.start(rule), "null", end);
    if (type == "boolean") {
      builder_.add_text(builder_.start(rule), "true", end);
      builder_.add_text(builder_.start(rule), "false", end);
    }
    return rule;
  }

  // ---- values of keywords ----

  static bool flag(const Schema& schema, const char* keyword, const std::string& pointer) {
    if (!schema.contains(keyword)) return false;
    if (!schema[keyword].is_boolean()) {
      fail(pointer, fmt::format("'{}' is neither true nor false", keyword));
    }
    return schema[keyword] == true;
  }

  static std::optional<uint32_t> count(const Schema& schema, const char* keyword,
                                       const std::string& pointer) {
    if (!schema.contains(keyword)) return std::nullopt;
    const Schema& value = schema[keyword];
    const double number = value.is_number() ? value.get<double>() : -1;
    if (!(number >= 0 && number <= kMaxCount) || number != double(uint32_t(number))) {
      fail(pointer, fmt::format("'{}' is {}, expected a whole number from 0 to {}", keyword,
                                value.dump(), kMaxCount));
    }
    return uint32_t(number);
  }

  struct Counts {
    uint32_t least, most;
    bool limited() const { return least > 0 || most != kUnlimited; }
  };
  static Counts counts(const Schema& schema, const char* least, const char* most,
                       const std::string& pointer) {
    const Counts range = {count(schema, least, pointer).value_or(0),
                          count(schema, most, pointer).value_or(kUnlimited)};
    if (range.least > range.most) {
      fail(pointer, fmt::format("'{}' is {} and '{}' is {}: nothing is between", least, range.least,
                                most, range.most));
    }
    return range;
  }

  // ---- one type each ----

  void fill_values(const Schema& schema, const std::string& pointer, StateId start, StateId end) {
    const Schema limits = assertions(schema);
    for (const auto& [keyword, value] : limits.items()) {
      if (keyword != "enum" && keyword != "const" && keyword != "type" && keyword != "nullable" &&
          keyword != "format") {
        fail(pointer, fmt::format("'{}' beside an enum or a const is not supported; remove it, and "
                                  "the values that it forbids",
                                  keyword));
      }
    }
    if (schema.contains("enum") && !schema["enum"].is_array()) fail(pointer, "'enum' is no list");
    const Schema listed =
        schema.contains("enum") ? schema["enum"] : Schema::array({schema["const"]});
    std::vector<std::string> texts;
    const std::vector<std::string> allowed =
        schema.contains("type") ? types(schema, pointer) : std::vector<std::string>();
    for (const Schema& value : listed) {
      if (schema.contains("const") && value != schema["const"]) continue;
      const bool right = allowed.empty() || std::ranges::any_of(allowed, [&](const auto& type) {
                           return is_type(value, type);
                         });
      if (right) texts.push_back(value.dump());
    }
    json_.add_choice(start, texts, end);
  }

  RuleId string_rule(const Schema& schema, const std::string& pointer) {
    const Counts length = counts(schema, "minLength", "maxLength", pointer);
    std::string pattern;
    if (schema.contains("format")) {
      if (!schema["format"].is_string()) fail(pointer, "'format' is no string");
      const auto format =
          std::ranges::find(kFormats, schema["format"].get<std::string>(), &Format::name);
      if (format != std::end(kFormats)) pattern = format->pattern;
    }
    if (schema.contains("pattern")) {
      if (!schema["pattern"].is_string()) fail(pointer, "'pattern' is no string");
      if (!pattern.empty()) {
        fail(pointer, "'pattern' beside this 'format' is not supported; keep one of them");
      }
      pattern = schema["pattern"].get<std::string>();
    }
    const bool has_pattern = schema.contains("pattern") || !pattern.empty();
    if (has_pattern && length.limited()) {
      fail(pointer,
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
      add_pattern(builder_, json_, inside, pattern, fmt::format("the schema at {}", pointer),
                  close);
    } else {
      const StateId next = builder_.add_state(rule);
      builder_.set_counter(rule, length.least, length.most);
      builder_.add_enough(inside, close);
      builder_.add_again(inside, next);
      json_.add_character(next, inside);
    }
    return rule;
  }

  std::optional<Bound> bound(const Schema& schema, const char* keyword, const char* exclusive,
                             bool lower, const std::string& pointer) {
    std::optional<Bound> tightest;
    double tightest_value = 0;
    for (const char* name : {keyword, exclusive}) {
      if (!schema.contains(name)) continue;
      const Schema& value = schema[name];
      if (!value.is_number()) {
        fail(pointer, fmt::format("'{}' is {}, expected a number (draft 4's boolean is not "
                                  "supported)",
                                  name, value.dump()));
      }
      const double number = value.get<double>();
      // Beyond what is written anyhow.
      if (lower ? number <= -1e18 : number >= 1e18) continue;
      const std::optional<Decimal> decimal = parse_decimal(value.dump());
      if (!decimal) {
        fail(pointer, fmt::format("'{}' is {}; numbers of more than 15 digits are not supported "
                                  "here",
                                  name, value.dump()));
      }
      const bool tighter =
          !tightest || (lower ? number >= tightest_value : number <= tightest_value);
      if (tighter) tightest = {*decimal, name == exclusive}, tightest_value = number;
    }
    return tightest;
  }

  RuleId number_rule(const std::string& type, const Schema& schema, const std::string& pointer) {
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

  struct Property {
    std::string name;
    bool required;
    RuleId value;
  };

  std::vector<Property> properties(const Schema& schema, const std::string& pointer) {
    std::vector<Property> list;
    if (schema.contains("properties")) {
      if (!schema["properties"].is_object()) fail(pointer, "'properties' is no object");
      const std::string path = child_pointer(pointer, "properties");
      for (const auto& [name, value] : schema["properties"].items()) {
        list.push_back({name, false, rule_of(value, child_pointer(path, name))});
      }
    }
    if (!schema.contains("required")) return list;
    if (!schema["required"].is_array()) fail(pointer, "'required' is no list");
    std::map<std::string, size_t> places;
    for (size_t i = 0; i < list.size(); ++i) places[list[i].name] = i;
    for (const Schema& name : schema["required"]) {
      if (!name.is_string()) fail(pointer, "'required' has something that is no string");
      const auto [place, is_new] = places.try_emplace(name.get<std::string>(), list.size());
      if (is_new) {
        const RuleId value = schema.contains("additionalProperties")
                                 ? rule_of(schema["additionalProperties"],
                                           child_pointer(pointer, "additionalProperties"))
                                 : json_.any();
        list.push_back({place->first, false, value});
      }
      list[place->second].required = true;
    }
    return list;
  }

  RuleId object_rule(const Schema& schema, const std::string& pointer) {
    const std::vector<Property> list = properties(schema, pointer);
    const size_t required = size_t(std::ranges::count(list, true, &Property::required));
    if (count(schema, "minProperties", pointer).value_or(0) > required) {
      fail(pointer,
           "'minProperties' above the number of required properties is not supported; "
           "name the properties in 'required'");
    }
    // Where the schema is silent: any names if it has none itself, else only its own.
    std::optional<RuleId> additional;
    if (schema.contains("additionalProperties")) {
      if (schema["additionalProperties"] != false)
        additional =
            rule_of(schema["additionalProperties"], child_pointer(pointer, "additionalProperties"));
    } else if (list.empty() && !schema.contains("properties")) {
      return json_.object();
    }

    const RuleId rule = builder_.add_rule();
    const auto state = [&] { return builder_.add_state(rule); };
    const StateId open = state(), inside = state(), close = state(), brace = state(), end = state();
    builder_.finish_at(end);
    builder_.add_text(builder_.start(rule), "{", open);
    builder_.add_call(open, json_.space(), inside);
    builder_.add_call(close, json_.space(), brace);
    builder_.add_text(brace, "}", end);
    // names[i]: before the name of property i or a later one; after[i]: a value was the last, and
    // those before i are written or left out.
    const size_t n = list.size();
    std::vector<StateId> names(n + 1), after(n + 1);
    for (size_t i = 0; i <= n; ++i) names[i] = state(), after[i] = state();
    size_t last_required = 0;  // one behind it
    for (size_t i = 0; i < n; ++i) {
      if (list[i].required) last_required = i + 1;
    }
    builder_.add_jump(inside, names[0]);
    if (last_required == 0) builder_.add_text(inside, "}", end);
    for (size_t i = 0; i <= n; ++i) {
      if (i < n) {
        const StateId colon = state(), value = state();
        builder_.add_text(names[i], '"' + json_inside(list[i].name) + '"', colon);
        json_.add_colon(colon, value);
        builder_.add_call(value, list[i].value, after[i + 1]);
        if (!list[i].required) builder_.add_jump(names[i], names[i + 1]);
      }
      json_.add_comma(after[i], names[i]);
      if (i >= last_required) builder_.add_jump(after[i], close);
    }
    if (additional) {
      const StateId name = state(), colon = state(), value = state();
      std::vector<std::string> taken;
      for (const Property& property : list) taken.push_back(property.name);
      builder_.add_text(names[n], "\"", name);
      json_.add_other_name(name, taken, colon);
      json_.add_colon(colon, value);
      builder_.add_call(value, *additional, after[n]);
    }
    return rule;
  }

  RuleId array_rule(const Schema& schema, const std::string& pointer) {
    if (flag(schema, "uniqueItems", pointer)) {
      fail(pointer,
           "'uniqueItems' is not supported; remove it, or list the items in 'prefixItems'");
    }
    Counts length = counts(schema, "minItems", "maxItems", pointer);
    std::vector<RuleId> first;
    if (schema.contains("prefixItems")) {
      const Schema& items = schema["prefixItems"];
      if (!items.is_array()) fail(pointer, "'prefixItems' is no list");
      const std::string path = child_pointer(pointer, "prefixItems");
      for (size_t i = 0; i < items.size() && i < length.most; ++i) {
        first.push_back(rule_of(items[i], child_pointer(path, std::to_string(i))));
      }
      // Where the schema is silent, all are written, and no more than needed.
      if (!schema.contains("minItems")) length.least = uint32_t(first.size());
      if (!schema.contains("items") && !schema.contains("maxItems")) {
        length.most = std::max(length.least, uint32_t(first.size()));
      }
    }
    if (schema.contains("items") && schema["items"].is_array()) {
      fail(pointer, "'items' is a list; write 'prefixItems'");
    }
    const bool silent = !schema.contains("items");
    if (silent && first.empty() && !length.limited()) return json_.array();
    const RuleId rest =
        silent ? json_.any() : rule_of(schema["items"], child_pointer(pointer, "items"));
    // So that behind the first items the rest may be empty, or is no deeper than what was written.
    if (length.least > first.size()) first.push_back(rest);

    const RuleId rule = builder_.add_rule();
    const auto state = [&] { return builder_.add_state(rule); };
    const StateId open = state(), inside = state(), close = state(), bracket = state(),
                  end = state();
    builder_.finish_at(end);
    builder_.add_text(builder_.start(rule), "[", open);
    builder_.add_call(open, json_.space(), inside);
    builder_.add_call(close, json_.space(), bracket);
    builder_.add_text(bracket, "]", end);
    if (length.least == 0) builder_.add_text(inside, "]", end);

    // `before`: an item comes next; `after`: one was the last.
    StateId before = inside, after = inside;
    for (size_t i = 0; i < first.size(); ++i) {
      if (i > 0) json_.add_comma(after, before = state());
      builder_.add_call(before, first[i], after = state());
      if (i + 1 >= length.least && i + 1 < first.size()) builder_.add_jump(after, close);
    }
    const uint32_t written = uint32_t(first.size());
    const Counts more = {length.least > written ? length.least - written : 0,
                         length.most == kUnlimited ? kUnlimited : length.most - written};
    if (first.empty() && more.most > 0) {
      // The first of the rest has no comma.
      before = state(), after = state();
      builder_.set_counter(rule, more.least, more.most);
      builder_.add_again(inside, before);
      builder_.add_call(before, rest, after);
    } else if (first.empty()) {
      return rule;
    } else {
      builder_.set_counter(rule, more.least, more.most);
    }
    builder_.add_enough(after, close);
    if (more.most > 0) {
      const StateId comma = state(), item = state();
      builder_.add_again(after, comma);
      json_.add_comma(comma, item);
      builder_.add_call(item, rest, after);
    }
    return rule;
  }

  const Schema& root_;
  GrammarBuilder builder_;
  JsonRules json_;
  std::map<const Schema*, RuleId> rules_;
  std::deque<Open> open_;
  std::deque<Schema> merged_;  // addresses stay
  size_t merged_bytes_ = 0;
};

}  // namespace

Grammar json_object_grammar() {
  const Schema schema = {{"type", "object"}};
  return Compiler(schema).compile();
}

Grammar json_schema_grammar(std::string_view text) {
  const Schema schema = parse_schema(text);
  return Compiler(schema).compile();
}

}  // namespace anser
