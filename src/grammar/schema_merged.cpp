#include "grammar/schema_merged.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "grammar/keywords.h"
#include "grammar/leaf_keywords.h"

namespace anser {
namespace {

constexpr int kLargestStep = 100;

// The only keyword that says something; nothing where there are more, or none.
std::string only_assertion(const Schema& schema) {
  std::string only;
  for (auto at = schema.begin(); at != schema.end(); ++at) {
    if (!is_assertion(at.key())) continue;
    if (!only.empty()) return "";
    only = at.key();
  }
  return only;
}

class Merger {
 public:
  Merger(SchemaParts& schemas, const std::string& pointer) : schemas_(schemas), pointer_(pointer) {}

  MergedSchema run(const Parts& parts) {
    for (const Part& part : parts) add(part);
    // Beside a format all patterns are part of the leaf.
    for (const std::string& pattern : all_.patterns) {
      if (all_.patterns.size() == 1 || has_format()) add_also("pattern", pattern);
    }
    if (all_.values) keep_values_of_types();
    if (all_.types == 0) nothing("the types that are required of one value exclude each other");
    return std::move(all_);
  }

 private:
  bool has_format() const {
    return all_.leaf.contains("format") || all_.leaf.contains("contentEncoding") ||
           all_.leaf.contains("contentMediaType");
  }

  void nothing(std::string why) {
    if (all_.nothing_because.empty()) all_.nothing_because = std::move(why);
  }

  void add(const Part& part) {
    switch (part.kind) {
      case Part::Kind::plain:
        if (part.schema->is_boolean()) return nothing("it is false");
        return add_node(*part.schema);
      case Part::Kind::absent:
        all_.absent.insert(part.schema->get_ref<const std::string&>());
        all_.spoken_of |= kObject;
        return;
      case Part::Kind::only:
        all_.spoken_of |= kObject;
        return add_only(*part.schema);
      case Part::Kind::depends:
        all_.spoken_of |= kObject;
        break;
      case Part::Kind::negated:
        if (is_simple(*part.schema)) return add_negated(*part.schema);
        break;
      default:
        break;
    }
    all_.others.push_back(part);
  }

  void add_only(const Schema& names) {
    std::set<std::string> these;
    for (const Schema& name : names) {
      const std::string& text = name.get_ref<const std::string&>();
      if (!all_.only || all_.only->contains(text)) these.insert(text);
    }
    all_.only = std::move(these);
  }

  void add_negated(const Schema& schema) {
    if (schema.contains("pattern")) {
      all_.forbidden_patterns.push_back(schema["pattern"]);
      all_.types &= kString;
      all_.has_types = true;
    } else if (schema.contains("multipleOf")) {
      all_.forbidden_steps.push_back(schema["multipleOf"].get<uint32_t>());
      all_.types &= kNumber;
      all_.has_types = true;
    } else if (schema.contains("const")) {
      all_.forbidden.push_back(&schema["const"]);
    } else {
      for (const Schema& value : schema["enum"]) all_.forbidden.push_back(&value);
    }
  }

  void add_node(const Schema& node) {
    schemas_.budget().spend(bytes_of_keys(node));
    all_.nodes.push_back(&node);
    all_.types &= schema_types(node, pointer_);
    all_.has_types |= node.contains("type");
    all_.spoken_of |= types_spoken_of(node);
    for (const auto& [word, value] : node.items()) {
      if (word == "enum") {
        std::vector<const Schema*> listed;
        for (const Schema& one : value) listed.push_back(&one);
        add_values(listed);
      } else if (word == "const") {
        add_values({&value});
      } else if (word == "required") {
        add_required(value);
      } else if (word == "contains") {
        all_.contains.push_back(&node);
      } else if (word == "uniqueItems") {
        all_.unique |= value == true;
      } else {
        add_limit(word, value, node);
      }
    }
  }

  void add_values(const std::vector<const Schema*>& listed) {
    std::unordered_set<std::string> own;
    std::vector<const Schema*> each;  // once
    for (const Schema* value : listed) {
      schemas_.budget().spend(bytes_of_copy(*value));
      if (own.insert(canonical_text(*value)).second) each.push_back(value);
    }
    if (!all_.values) {
      all_.values = std::move(each);
      return;
    }
    std::erase_if(*all_.values,
                  [&](const Schema* value) { return !own.contains(canonical_text(*value)); });
  }

  void add_required(const Schema& names) {
    for (const Schema& name : names) {
      const std::string& text = name.get_ref<const std::string&>();
      if (required_.insert(text).second) all_.required.push_back(text);
    }
  }

  void add_limit(const std::string& word, const Schema& value, const Schema& node) {
    const auto count = [&] { return schema_count(node, word.c_str(), pointer_).value_or(0); };
    if (word == "minItems") {
      all_.least_items = std::max(all_.least_items, count());
    } else if (word == "maxItems") {
      all_.most_items = std::min(all_.most_items, count());
    } else if (word == "minProperties") {
      all_.least_properties = std::max(all_.least_properties, count());
    } else if (word == "maxProperties") {
      all_.most_properties = std::min(all_.most_properties, count());
    } else if (word == "minLength" || word == "minimum") {
      tighten(all_.leaf, word, value, true);
    } else if (word == "maxLength" || word == "maximum") {
      tighten(all_.leaf, word, value, false);
    } else if (word == "exclusiveMinimum" || word == "exclusiveMaximum") {
      const bool lower = word == "exclusiveMinimum";
      if (value.is_number()) return tighten(all_.leaf, word, value, lower);
      const char* const bound = lower ? "minimum" : "maximum";  // draft 4
      if (value == true && node.contains(bound)) tighten(all_.leaf, word, node[bound], lower);
    } else if (word == "pattern") {
      const std::string& text = value.get_ref<const std::string&>();
      if (std::ranges::find(all_.patterns, text) == all_.patterns.end()) {
        all_.patterns.push_back(text);
      }
    } else if (word == "format" || word == "multipleOf" || word.starts_with("content")) {
      add_also(word, value);
    }
  }

  void add_also(const std::string& word, const Schema& value) {
    if (!all_.leaf.contains(word)) all_.leaf[word] = value;
    if (all_.leaf[word] == value) return;
    Schema& also = all_.leaf[kAlso];
    if (!also.is_array()) also = Schema::array();
    Schema one = {{word, value}};
    if (std::ranges::find(also, one) == also.end()) also.push_back(std::move(one));
  }

  void keep_values_of_types() {
    const size_t before = all_.values->size();
    std::erase_if(*all_.values,
                  [&](const Schema* value) { return (type_of(*value) & all_.types) == 0; });
    if (!all_.values->empty()) return;
    nothing(before == 0 ? "enum and const have no value in common"
                        : fmt::format("no value of its enum or const is of the type {}",
                                      names_of(all_.types)));
  }

  SchemaParts& schemas_;
  const std::string& pointer_;
  MergedSchema all_;
  std::unordered_set<std::string> required_;
};

}  // namespace

bool is_simple(const Schema& schema) {
  if (!schema.is_object()) return false;
  const std::string only = only_assertion(schema);
  if (only == "multipleOf") {
    const Schema& step = schema["multipleOf"];
    return step.is_number_integer() && step > 0 && step <= kLargestStep;
  }
  return only == "enum" || only == "const" || only == "pattern";
}

MergedSchema merge_parts(const Parts& parts, SchemaParts& schemas, const std::string& pointer) {
  return Merger(schemas, pointer).run(parts);
}

}  // namespace anser
