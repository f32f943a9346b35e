// What it takes that a schema does not hold: of all ways those that can be written as schemas.
#include <fmt/format.h>

#include <algorithm>

#include "grammar/keywords.h"
#include "grammar/schema_logic.h"

namespace anser {
namespace {

using Kind = Part::Kind;

// What all texts of a format match that any reader takes for such; empty where that is nothing.
std::string_view wider_pattern(const std::string& format) {
  static constexpr std::pair<std::string_view, std::string_view> kPatterns[] = {
      {"date", "^[0-9]{4}-[0-9]{2}-[0-9]{2}"},
      {"date-time", "^[0-9]{4}-[0-9]{2}-[0-9]{2}"},
      {"time", "^[0-9]{2}:"},
      {"duration", "^[Pp]"},
      {"uuid", "-"},
      {"email", "@"},
      {"idn-email", "@"},
      {"ipv4", "^[0-9]+\\."},
      {"ipv6", ":"},
      {"uri", ":"},
      {"iri", ":"}};
  for (const auto& [name, pattern] : kPatterns) {
    if (name == format) return pattern;
  }
  return {};
}

// Types by name, as a list.
Schema type_names(Types types) {
  static constexpr std::pair<std::string_view, Types> kNames[] = {
      {"object", kObject},   {"array", kArray}, {"string", kString},       {"number", kNumber},
      {"boolean", kBoolean}, {"null", kNull},   {kFractionName, kFraction}};
  Schema names = Schema::array();
  for (const auto& [name, type] : kNames) {
    if ((types & type) != type || (type == kFraction && (types & kInteger) != 0)) continue;
    names.push_back(name);
  }
  return names;
}

}  // namespace

Part SchemaLogic::negated(Schema&& schema, const std::string& pointer) {
  return {&schemas_.keep(std::move(schema), pointer), Kind::negated};
}

Part SchemaLogic::absent(const std::string& name, const std::string& pointer) {
  return {&schemas_.keep(Schema(name), pointer), Kind::absent};
}

void SchemaLogic::add_way(Negation& found, Schema&& schema, const std::string& pointer) {
  found.ways.push_back({{&schemas_.keep(std::move(schema), pointer), Kind::plain}});
}

SchemaLogic::Negation SchemaLogic::negation(const Schema& schema, const Parts& parts,
                                            const std::string& pointer) {
  Negation found;
  const MergedSchema own = merge_parts(parts, schemas_, pointer);
  Parts all;
  schemas_.add(all, schema, pointer);
  for (const Part& part : all) negate_part(part, own, pointer, found);
  std::erase_if(found.ways, [&](const Parts& way) {
    Parts together = parts;
    schemas_.add(together, way);
    return is_impossible(together);
  });
  return found;
}

void SchemaLogic::negate_part(const Part& part, const MergedSchema& own, const std::string& pointer,
                              Negation& found) {
  const Schema& schema = *part.schema;
  const auto none_of = [&](const Schema& branches) {
    Parts way;
    for (const Schema& branch : branches) way.push_back({&branch, Kind::negated});
    found.ways.push_back(std::move(way));
  };
  switch (part.kind) {
    case Kind::plain:
      if (schema.is_boolean()) return found.ways.push_back({});  // false never holds
      for (const auto& [word, value] : schema.items()) {
        negate_keyword(word, value, schema, own, pointer, found);
      }
      return;
    case Kind::any_of:
      return none_of(schema["anyOf"]);
    case Kind::one_of:
      found.all = false;  // several may hold
      return none_of(schema["oneOf"]);
    case Kind::negated: {
      Parts way;
      schemas_.add(way, schema, pointer);
      return found.ways.push_back(std::move(way));
    }
    case Kind::conditional: {
      Parts then, otherwise = {{&schema["if"], Kind::negated}};
      schemas_.add(then, schema["if"], pointer);
      if (schema.contains("then")) {
        then.push_back({&schema["then"], Kind::negated});
        found.ways.push_back(std::move(then));
      }
      if (schema.contains("else")) {
        otherwise.push_back({&schema["else"], Kind::negated});
        found.ways.push_back(std::move(otherwise));
      }
      return;
    }
    case Kind::nullable: {
      Schema rest = schema;
      rest.erase("nullable");
      found.ways.push_back(
          {negated({{"type", "null"}}, pointer), negated(std::move(rest), pointer)});
      return;
    }
    case Kind::depends: {
      const auto has = [&](Schema&& more) {
        more["type"] = "object";
        more["required"] = Schema::array({schema[0]});
        return Part{&schemas_.keep(std::move(more), pointer), Kind::plain};
      };
      const Schema& needed = schema[1];
      if (!needed.is_array()) {
        found.ways.push_back({has(Schema::object()), {&needed, Kind::negated}});
        return;
      }
      for (const Schema& name : needed) {
        found.ways.push_back(
            {has(Schema::object()), absent(name.get_ref<const std::string&>(), pointer)});
      }
      return;
    }
    case Kind::absent:
      return add_way(found, {{"type", "object"}, {"required", Schema::array({schema})}}, pointer);
    case Kind::only:
      found.all = false;
      return;
  }
}

void SchemaLogic::negate_keyword(const std::string& word, const Schema& value, const Schema& node,
                                 const MergedSchema& own, const std::string& pointer,
                                 Negation& found) {
  const Keyword* const keyword = find_keyword(word);
  if (keyword == nullptr || keyword->use == KeywordUse::note || word == "nullable") return;
  const bool holds_schemas =
      keyword->value == KeywordValue::schema || keyword->value == KeywordValue::items;
  const bool says_nothing =
      holds_schemas && (value == true || (value.is_object() && value.empty()));
  if ((says_nothing && word != "contains") || (word == "uniqueItems" && value == false)) return;
  const auto count = [&] { return schema_count(node, word.c_str(), pointer).value_or(0); };
  const auto way = [&](const char* type, const char* limit, Schema&& of) {
    add_way(found, {{"type", type}, {limit, std::move(of)}}, pointer);
  };
  const auto below = [&](const char* type, const char* limit) {
    if (count() > 0) way(type, limit, count() - 1);
  };
  if (word == "type") {
    const Types others = kAllTypes & ~schema_types(node, pointer);
    const Schema names = type_names(others);
    if (!names.empty()) add_way(found, {{"type", names}}, pointer);
  } else if (word == "enum" || word == "const" || word == "pattern") {
    found.ways.push_back({negated({{word, value}}, pointer)});
  } else if (word == "multipleOf" && is_simple({{word, value}})) {
    found.ways.push_back({negated({{word, value}}, pointer)});
  } else if (word == "format") {
    const std::string_view wider = wider_pattern(value.get_ref<const std::string&>());
    if (!wider.empty()) found.ways.push_back({negated({{"pattern", wider}}, pointer)});
    found.all = false;
  } else if (word == "minimum") {
    const bool exclusive = node.contains("exclusiveMinimum") && node["exclusiveMinimum"] == true;
    way("number", exclusive ? "maximum" : "exclusiveMaximum", Schema(value));
  } else if (word == "maximum") {
    const bool exclusive = node.contains("exclusiveMaximum") && node["exclusiveMaximum"] == true;
    way("number", exclusive ? "minimum" : "exclusiveMinimum", Schema(value));
  } else if (word == "exclusiveMinimum" || word == "exclusiveMaximum") {
    const char* const limit = word == "exclusiveMinimum" ? "maximum" : "minimum";
    if (value.is_number()) way("number", limit, Schema(value));
  } else if (word == "minLength") {
    below("string", "maxLength");
  } else if (word == "maxLength") {
    way("string", "minLength", count() + 1);
  } else if (word == "minItems") {
    below("array", "maxItems");
  } else if (word == "maxItems") {
    way("array", "minItems", count() + 1);
  } else if (word == "minProperties") {
    below("object", "maxProperties");
  } else if (word == "maxProperties") {
    way("object", "minProperties", count() + 1);
  } else if (word == "contains" && !node.contains("minContains")) {
    way("array", "items", {{"not", value}});
    found.all &= !node.contains("maxContains");
  } else if ((word == "items" || word == "prefixItems") && !value.empty()) {
    const bool is_list = value.is_array();
    if (!is_list && node.contains("prefixItems")) {
      found.all = false;
      return;
    }
    found.all &= is_list && value.size() == 1;  // another may be wrong
    Schema wrong = {{"not", is_list ? value[0] : value}};
    add_way(found, {{"type", "array"}, {"minItems", 1}, {"prefixItems", Schema::array({wrong})}},
            pointer);
  } else {
    negate_object(word, value, node, own, pointer, found);
  }
}

void SchemaLogic::negate_object(const std::string& word, const Schema& value, const Schema& node,
                                const MergedSchema& own, const std::string& pointer,
                                Negation& found) {
  const bool closed = is_closed(own);
  if (word == "required") {
    const Part object = {&schemas_.keep({{"type", "object"}}, pointer), Kind::plain};
    for (const Schema& name : value) {
      found.ways.push_back({object, absent(name.get_ref<const std::string&>(), pointer)});
    }
  } else if (word == "properties") {
    for (const auto& [name, property] : value.items()) {
      if (property == true || property.empty()) continue;
      if (closed && !lists(own, name)) continue;
      schemas_.budget().spend(bytes_of_copy(property));
      Schema wrong = Schema::object();
      if (property == false) {
        wrong = Schema(true);
      } else {
        wrong["not"] = property;
      }
      Schema properties = Schema::object();
      properties[name] = std::move(wrong);
      add_way(found,
              {{"type", "object"},
               {"required", Schema::array({name})},
               {"properties", std::move(properties)}},
              pointer);
    }
  } else if (word == "additionalProperties" || word == "propertyNames") {
    if (value == true) return;
    negate_names(value, node, word == "propertyNames", own, pointer, found);
  } else {
    found.all = false;
  }
}

// A property that is there, and whose value or name is not as the others must be.
void SchemaLogic::negate_names(const Schema& value, const Schema& node, bool of_names,
                               const MergedSchema& own, const std::string& pointer,
                               Negation& found) {
  constexpr size_t kMost = 16;
  std::vector<std::string> names = own.required;
  for (const Schema* other : own.nodes) {
    if (!other->contains("properties")) continue;
    for (const auto& [name, property] : (*other)["properties"].items()) {
      if (names.size() < kMost) names.push_back(name);
    }
  }
  found.all &= is_closed(own) && names.size() < kMost;
  const auto is_listed = [&](const std::string& name) {
    if (node.contains("properties") && member(node["properties"], name) != nullptr) return true;
    if (!node.contains("patternProperties")) return false;
    for (const auto& [pattern, other] : node["patternProperties"].items()) {
      if (patterns_.matches(pattern, name).value_or(true)) return true;
    }
    return false;
  };
  for (const std::string& name : names) {
    Schema way = {{"type", "object"}, {"required", Schema::array({name})}};
    if (of_names) {
      if (check_.check(Schema(name), value) != Verdict::no) continue;
    } else {
      if (is_listed(name)) continue;
      schemas_.budget().spend(bytes_of_copy(value));
      if (value != false) way["properties"][name] = {{"not", value}};
    }
    add_way(found, std::move(way), pointer);
  }
}

}  // namespace anser
