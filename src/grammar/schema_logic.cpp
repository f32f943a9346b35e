#include "grammar/schema_logic.h"

#include <fmt/format.h>

#include <algorithm>

#include "anser/error.h"
#include "grammar/keywords.h"
#include "grammar/number_limits.h"

namespace anser {
namespace {

using Kind = Part::Kind;

constexpr int kFuel = 300;  // schemas that are looked at for one question
constexpr int kMaxDepth = 6;
constexpr uint32_t kFewItems = 4;
constexpr size_t kManyKeys = 16;

bool is_choice(const Part& part) {
  return part.kind != Kind::negated;
}

// Exactly; but beyond 15 digits readers may take a number for its neighbour, so that what is
// between two bounds is not looked at closely.
bool has_numbers(const Schema& leaf, Types types) {
  constexpr size_t kMaxDigits = 15;
  const auto low = number_bound(leaf, true, "#"), high = number_bound(leaf, false, "#");
  if (!low || !high) return true;
  const int order = compare(low->value, high->value);
  if (order > 0 || (order == 0 && (low->exclusive || high->exclusive))) return false;
  const bool is_long = std::max(low->value.whole.size(), high->value.whole.size()) > kMaxDigits;
  if ((types & kFraction) != 0 || is_long) return true;
  return compare(least_whole(*low), most_whole(*high)) <= 0;
}

}  // namespace

const Schema* SchemaLogic::member(const Schema& object, const std::string& name) {
  if (object.size() <= kManyKeys) {
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
  }
  auto& index = members_[&object];
  if (index.empty()) {
    schemas_.budget().spend(bytes_of_keys(object));
    for (auto at = object.begin(); at != object.end(); ++at) index.emplace(at.key(), &*at);
  }
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

Parts SchemaLogic::property_parts(const std::vector<const Schema*>& nodes, const std::string& name,
                                  const std::string& pointer) {
  Parts parts;
  for (const Schema* node : nodes) {
    bool listed = false;
    if (node->contains("properties")) {
      if (const Schema* const own = member((*node)["properties"], name)) {
        listed = true;
        schemas_.add(parts, *own, pointer);
      }
    }
    if (node->contains("patternProperties")) {
      for (const auto& [pattern, other] : (*node)["patternProperties"].items()) {
        const std::optional<bool> matches = patterns_.matches(pattern, name);
        if (!matches) {
          schemas_.refuse(pointer, fmt::format("the pattern '{}' of 'patternProperties' is not "
                                               "supported beside properties",
                                               pattern));
        }
        if (!matches.value_or(false)) continue;
        listed = true;
        schemas_.add(parts, other, pointer);
      }
    }
    if (listed) continue;
    for (const char* word : {"additionalProperties", "unevaluatedProperties"}) {
      if (!node->contains(word)) continue;
      schemas_.add(parts, (*node)[word], pointer);
      break;
    }
  }
  return parts;
}

Parts SchemaLogic::item_parts(const std::vector<const Schema*>& nodes, size_t index,
                              const std::string& pointer) {
  Parts parts;
  for (const Schema* node : nodes) {
    const auto items = node->find("items");
    const bool is_tuple = items != node->end() && items->is_array();
    const auto first = is_tuple ? items : node->find("prefixItems");
    if (first != node->end() && index < first->size()) {
      schemas_.add(parts, (*first)[index], pointer);
      continue;
    }
    const auto rest = is_tuple ? node->find("additionalItems") : items;
    const auto last = rest != node->end() ? rest : node->find("unevaluatedItems");
    if (last != node->end()) schemas_.add(parts, *last, pointer);
  }
  return parts;
}

bool SchemaLogic::is_closed(const MergedSchema& merged) {
  if (merged.values) return false;  // they have the names that they have
  bool lists_some = !merged.required.empty(), closed = merged.only.has_value(), open = false;
  for (const Schema* node : merged.nodes) {
    lists_some |= node->contains("properties");
    if (node->contains("patternProperties")) return false;
    for (const char* word : {"additionalProperties", "unevaluatedProperties"}) {
      const auto found = node->find(word);
      if (found == node->end()) continue;
      closed |= *found == false;
      open |= *found != false;
    }
  }
  return closed || (lists_some && !open);
}

bool SchemaLogic::lists(const MergedSchema& merged, const std::string& name) {
  if (std::ranges::find(merged.required, name) != merged.required.end()) return true;
  return std::ranges::any_of(merged.nodes, [&](const Schema* node) {
    return node->contains("properties") && member((*node)["properties"], name) != nullptr;
  });
}

bool SchemaLogic::excludes(const Parts& written, const Parts& more) {
  const auto [at, is_new] = known_.try_emplace({written, more}, false);
  if (is_new) {
    schemas_.budget().spend(sizeof(Part) * (written.size() + more.size()));
    fuel_ = kFuel;
    const bool found = excludes(written, more, 0);
    at->second = found;
  }
  return at->second;
}

bool SchemaLogic::excludes(const Parts& written, const Parts& more, int depth) {
  if (fuel_ == 0 || depth > kMaxDepth) return false;
  --fuel_;
  Parts all = written;
  schemas_.add(all, more);
  const MergedSchema own = merge_parts(written, schemas_, "#");
  const MergedSchema both = merge_parts(all, schemas_, "#");
  if (!both.nothing_because.empty()) return true;
  const bool settled = std::ranges::none_of(own.others, is_choice);
  const Types types = settled ? both.types & own.written_types() : both.types;
  if (types == 0 || contradicts(all, both)) return true;
  if (both.values && excludes_values(all, both, types)) return true;
  const Pair pair = {written, more, own, both, settled, depth};
  return (!both.values && excludes_types(pair, types)) || excludes_choices(pair);
}

// What must hold, and must not.
bool SchemaLogic::contradicts(const Parts& all, const MergedSchema& both) {
  return std::ranges::any_of(both.others, [&](const Part& part) {
    if (part.kind != Kind::negated) return false;
    Parts opposite;
    schemas_.add(opposite, *part.schema, "#");
    return std::ranges::all_of(
        opposite, [&](const Part& one) { return std::ranges::find(all, one) != all.end(); });
  });
}

bool SchemaLogic::excludes_values(const Parts& all, const MergedSchema& both, Types types) {
  return std::ranges::all_of(*both.values, [&](const Schema* value) {
    if ((type_of(*value) & types) == 0) return true;
    return std::ranges::any_of(
        all, [&](const Part& part) { return check_.check(*value, part) == Verdict::no; });
  });
}

bool SchemaLogic::excludes_types(const Pair& pair, Types types) {
  const MergedSchema& both = pair.both;
  const auto forbids = [&](const Schema& value) {
    return std::ranges::any_of(both.forbidden, [&](const Schema* one) { return *one == value; });
  };
  if ((types & kNull) != 0 && !forbids(nullptr)) return false;
  if ((types & kBoolean) != 0 && !(forbids(true) && forbids(false))) return false;
  if ((types & kNumber) != 0 && has_numbers(both.leaf, types)) return false;
  if ((types & kString) != 0) {
    const auto least = both.leaf.find("minLength"), most = both.leaf.find("maxLength");
    const bool is_empty = least != both.leaf.end() && most != both.leaf.end() && *least > *most;
    if (!is_empty) return false;
  }
  if ((types & kArray) != 0 && !excludes_arrays(pair)) return false;
  return (types & kObject) == 0 || excludes_objects(pair);
}

bool SchemaLogic::excludes_objects(const Pair& pair) {
  const MergedSchema& both = pair.both;
  if (both.least_properties > both.most_properties || both.required.size() > both.most_properties) {
    return true;
  }
  const bool closed = pair.settled && is_closed(pair.own);
  for (const std::string& name : both.required) {
    if (fuel_ == 0) return false;
    if (both.absent.contains(name) || (both.only && !both.only->contains(name))) return true;
    if (closed && !lists(pair.own, name)) return true;
    const Parts written = property_parts(pair.own.nodes, name, "#");
    const Parts all = property_parts(both.nodes, name, "#");
    if (excludes(written, all, pair.depth + 1)) return true;
  }
  return false;
}

bool SchemaLogic::excludes_arrays(const Pair& pair) {
  const MergedSchema& both = pair.both;
  if (both.least_items > both.most_items) return true;
  for (uint32_t i = 0; i < std::min(both.least_items, kFewItems); ++i) {
    const Parts written = item_parts(pair.own.nodes, i, "#");
    const Parts all = item_parts(both.nodes, i, "#");
    if (excludes(written, all, pair.depth + 1)) return true;
  }
  return false;
}

// Whether each alternative of some choice is excluded.
bool SchemaLogic::excludes_choices(const Pair& pair) {
  for (const Part& part : pair.both.others) {
    if (part.kind != Kind::any_of && part.kind != Kind::one_of) continue;
    const Schema& branches = (*part.schema)[part.kind == Kind::any_of ? "anyOf" : "oneOf"];
    const auto without = [&](const Parts& parts, const Schema& branch) {
      Parts rest;
      for (const Part& one : parts) {
        if (one == part) {
          schemas_.add(rest, branch, "#");
        } else {
          schemas_.add(rest, Parts{one});
        }
      }
      return rest;
    };
    const bool excluded = std::ranges::all_of(branches, [&](const Schema& branch) {
      return fuel_ > 0 &&
             excludes(without(pair.written, branch), without(pair.more, branch), pair.depth + 1);
    });
    if (excluded) return true;
  }
  return false;
}

SchemaLogic::Profile SchemaLogic::profile(const Parts& parts, const std::string& pointer) {
  const MergedSchema merged = merge_parts(parts, schemas_, pointer);
  const auto texts = [](const std::vector<const Schema*>& values) {
    std::set<std::string> all;
    for (const Schema* value : values) all.insert(canonical_text(*value));
    return all;
  };
  Profile found = {merged.types, std::nullopt, {}, !merged.nothing_because.empty()};
  if (merged.values) {
    found.values = texts(*merged.values);
    Types types = 0;
    for (const Schema* value : *merged.values) types |= type_of(*value);
    found.types &= types;
  }
  constexpr size_t kMaxTags = 8;
  for (const std::string& name : merged.required) {
    if (found.tags.size() == kMaxTags) break;
    const Parts value = property_parts(merged.nodes, name, pointer);
    const MergedSchema tag = merge_parts(value, schemas_, pointer);
    if (tag.values) found.tags[name] = texts(*tag.values);
  }
  return found;
}

bool SchemaLogic::differ(const Profile& a, const Profile& b) {
  const auto disjoint = [](const std::set<std::string>& one, const std::set<std::string>& other) {
    return std::ranges::none_of(one, [&](const auto& text) { return other.contains(text); });
  };
  const Types common = a.types & b.types;
  if (common == 0 || a.impossible || b.impossible) return true;
  if (a.values && b.values && disjoint(*a.values, *b.values)) return true;
  if (common != kObject) return false;
  return std::ranges::any_of(a.tags, [&](const auto& tag) {
    const auto other = b.tags.find(tag.first);
    return other != b.tags.end() && disjoint(tag.second, other->second);
  });
}

// Each alternative, and none of the others but those that can be told from it at a glance.
const std::vector<SchemaLogic::Alternative>& SchemaLogic::one_of(const Schema& schema,
                                                                 const std::string& pointer) {
  const auto [known, is_new] = one_of_.try_emplace(&schema);
  std::vector<Alternative>& found = known->second;
  if (!is_new) return found;
  const Schema& branches = schema["oneOf"];
  const std::string path = child_pointer(pointer, "oneOf");
  std::vector<Profile> profiles;
  for (size_t i = 0; i < branches.size(); ++i) {
    const std::string at = child_pointer(path, std::to_string(i));
    found.push_back({{}, at});
    schemas_.add(found.back().parts, branches[i], at);
    profiles.push_back(profile(found.back().parts, at));
  }
  for (size_t i = 0; i < branches.size(); ++i) {
    Parts others;
    schemas_.budget().spend(16 * branches.size());
    for (size_t j = 0; j < branches.size(); ++j) {
      if (i == j || differ(profiles[i], profiles[j])) continue;
      others.push_back({&branches[j], Kind::negated});
    }
    schemas_.add(found[i].parts, others);
  }
  return found;
}

std::vector<SchemaLogic::Alternative> SchemaLogic::alternatives(const Part& choice,
                                                                const std::string& pointer) {
  const Schema& schema = *choice.schema;
  std::vector<Alternative> found;
  const auto begin = [&](const std::string& at) -> Parts& {
    found.push_back({{}, at});
    return found.back().parts;
  };
  const auto branch = [&](Parts& parts, const char* word) {
    if (schema.contains(word)) schemas_.add(parts, schema[word], child_pointer(pointer, word));
  };
  switch (choice.kind) {
    case Kind::any_of: {
      const std::string path = child_pointer(pointer, "anyOf");
      for (size_t i = 0; i < schema["anyOf"].size(); ++i) {
        const std::string at = child_pointer(path, std::to_string(i));
        schemas_.add(begin(at), schema["anyOf"][i], at);
      }
      break;
    }
    case Kind::one_of:
      return one_of(schema, pointer);
    case Kind::conditional: {
      Parts& then = begin(pointer);
      branch(then, "if");
      branch(then, "then");
      Parts& otherwise = begin(pointer);
      otherwise.push_back({&schema["if"], Kind::negated});
      branch(otherwise, "else");
      break;
    }
    case Kind::nullable:
      begin(pointer).push_back({&schemas_.keep({{"type", "null"}}, pointer), Kind::plain});
      schemas_.add_without_null(begin(pointer), schema, pointer);
      break;
    case Kind::depends: {
      begin(pointer).push_back({&schemas_.keep(Schema(schema[0]), pointer), Kind::absent});
      if (schema[1].is_array()) {
        begin(pointer).push_back({&schemas_.keep({{"required", schema[1]}}, pointer), Kind::plain});
      } else {
        schemas_.add(begin(pointer), schema[1], pointer);
      }
      break;
    }
    default:
      break;
  }
  return found;
}

}  // namespace anser
