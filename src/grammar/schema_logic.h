// What can be said of schemas before a grammar is made of them: whether two exclude each other,
// which alternatives there are, what it takes that one does not hold.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/schema_check.h"
#include "grammar/schema_merged.h"
#include "grammar/schema_parts.h"

namespace anser {

class SchemaLogic {
 public:
  SchemaLogic(SchemaParts& schemas, PatternCache& patterns)
      : schemas_(schemas), patterns_(patterns), check_(schemas, patterns) {}

  // True only if nothing that is written for `written` satisfies `more`, too. Where a schema leaves
  // a choice less is written than it allows: docs/formats.md. False may also mean that it is not
  // known.
  bool excludes(const Parts& written, const Parts& more);
  bool is_impossible(const Parts& parts) { return excludes(parts, {}); }

  // What may stand in place of a part that is a choice, with the places of each.
  struct Alternative {
    Parts parts;
    std::string pointer;
  };
  std::vector<Alternative> alternatives(const Part& choice, const std::string& pointer);

  // What may be added to `parts` so that `schema` does not hold.
  struct Negation {
    std::vector<Parts> ways;
    bool all = true;  // whether there are no others
  };
  Negation negation(const Schema& schema, const Parts& parts, const std::string& pointer);

  // What the value of a property, or an item, must obey.
  Parts property_parts(const std::vector<const Schema*>& nodes, const std::string& name,
                       const std::string& pointer);
  Parts item_parts(const std::vector<const Schema*>& nodes, size_t index,
                   const std::string& pointer);

  // Whether no names are written but those that are listed or required.
  static bool is_closed(const MergedSchema& merged);
  bool lists(const MergedSchema& merged, const std::string& name);
  const Schema* member(const Schema& object, const std::string& name);

  ValueCheck& check() { return check_; }
  PatternCache& patterns() { return patterns_; }

 private:
  // What tells an alternative from others at a glance.
  struct Profile {
    Types types;
    std::optional<std::set<std::string>> values;
    std::map<std::string, std::set<std::string>> tags;  // values of properties that are required
    bool impossible;
  };
  Profile profile(const Parts& parts, const std::string& pointer);
  static bool differ(const Profile& a, const Profile& b);
  const std::vector<Alternative>& one_of(const Schema& schema, const std::string& pointer);

  struct Pair {
    const Parts &written, &more;
    const MergedSchema &own, &both;
    bool settled;  // whether `own` is all that is written
    int depth;
  };
  bool excludes(const Parts& written, const Parts& more, int depth);
  bool excludes_types(const Pair& pair, Types types);
  bool excludes_values(const Parts& all, const MergedSchema& both, Types types);
  bool excludes_objects(const Pair& pair);
  bool excludes_arrays(const Pair& pair);
  bool excludes_choices(const Pair& pair);
  bool contradicts(const Parts& all, const MergedSchema& both);

  void negate_part(const Part& part, const MergedSchema& own, const std::string& pointer,
                   Negation& found);
  void negate_keyword(const std::string& word, const Schema& value, const Schema& node,
                      const MergedSchema& own, const std::string& pointer, Negation& found);
  void negate_object(const std::string& word, const Schema& value, const Schema& node,
                     const MergedSchema& own, const std::string& pointer, Negation& found);
  void negate_names(const Schema& value, const Schema& node, bool of_names, const MergedSchema& own,
                    const std::string& pointer, Negation& found);
  void add_way(Negation& found, Schema&& schema, const std::string& pointer);
  Part negated(Schema&& schema, const std::string& pointer);
  Part absent(const std::string& name, const std::string& pointer);

  SchemaParts& schemas_;
  PatternCache& patterns_;
  ValueCheck check_;
  int fuel_ = 0;
  std::map<std::pair<Parts, Parts>, bool> known_;
  std::map<const Schema*, std::vector<Alternative>> one_of_;
  std::map<const Schema*, std::unordered_map<std::string_view, const Schema*>> members_;
};

}  // namespace anser
