#include "grammar/schema_references.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grammar/keywords.h"

namespace anser {
namespace {

// A reference, as URIs have it, from a place whose address is `base`.
std::string resolved(const std::string& base, const std::string& reference) {
  const size_t colon = reference.find(':'), first = reference.find_first_of("/?#");
  if (colon != std::string::npos && (first == std::string::npos || colon < first)) return reference;
  if (reference.starts_with('#')) return base + reference;
  const size_t scheme = base.find("://");
  const size_t path = scheme == std::string::npos ? 0 : base.find('/', scheme + 3);
  if (reference.starts_with('/')) {
    return (path == std::string::npos ? base : base.substr(0, path)) + reference;
  }
  const size_t slash = base.rfind('/');
  const bool has_path = path != std::string::npos && slash != std::string::npos && slash >= path;
  return (has_path ? base.substr(0, slash + 1) : base.empty() ? "" : base + "/") + reference;
}

std::pair<std::string, std::string> without_fragment(const std::string& address) {
  const size_t hash = address.find('#');
  if (hash == std::string::npos) return {address, ""};
  return {address.substr(0, hash), address.substr(hash + 1)};
}

class References {
 public:
  References(Schema& root, CompileBudget& budget) : root_(root), budget_(budget) {}

  void run() {
    visit(root_, "", [&](Schema& schema, const std::string& base) { collect(schema, base); });
    visit(root_, "", [&](Schema& schema, const std::string& base) { rewrite(schema, base); });
  }

 private:
  using Visit = std::function<void(Schema&, const std::string&)>;

  static const std::string* text_of(const Schema& schema, const char* keyword) {
    const auto found = schema.find(keyword);
    return found != schema.end() && found->is_string() ? &found->get_ref<const std::string&>()
                                                       : nullptr;
  }
  static const std::string* id_of(const Schema& schema) {
    const std::string* const id = text_of(schema, "$id");
    return id != nullptr ? id : text_of(schema, "id");
  }

  // All schemas below `schema`, with the address of the resource that they are of.
  void visit(Schema& schema, std::string base, const Visit& work) {
    if (!schema.is_object()) return;
    budget_.spend(bytes_of_keys(schema) + base.size());
    if (const std::string* const id = id_of(schema)) {
      if (!id->starts_with('#')) base = without_fragment(resolved(base, *id)).first;
    }
    work(schema, base);
    for (auto at = schema.begin(); at != schema.end(); ++at) {
      const Keyword* const keyword = find_keyword(at.key());
      if (keyword == nullptr) continue;
      steps_.push_back(at.key());
      visit_value(*keyword, at.value(), base, work);
      steps_.pop_back();
    }
  }
  void visit_value(const Keyword& keyword, Schema& value, const std::string& base,
                   const Visit& work) {
    const bool named =
        keyword.value == KeywordValue::named_schemas || keyword.value == KeywordValue::dependencies;
    const bool listed = keyword.value == KeywordValue::schemas ||
                        keyword.value == KeywordValue::schema_list ||
                        (keyword.value == KeywordValue::items && value.is_array());
    if (named && value.is_object()) {
      for (auto at = value.begin(); at != value.end(); ++at) {
        steps_.push_back(at.key());
        visit(at.value(), base, work);
        steps_.pop_back();
      }
    } else if (listed && value.is_array()) {
      for (size_t i = 0; i < value.size(); ++i) {
        const std::string index = std::to_string(i);
        steps_.push_back(index);
        visit(value[i], base, work);
        steps_.pop_back();
      }
    } else if (keyword.value == KeywordValue::schema || keyword.value == KeywordValue::items) {
      visit(value, base, work);
    }
  }

  // Where the walk is, as '#/...'.
  std::string place() {
    std::string path = "#";
    for (const std::string_view step : steps_) {
      path += '/';
      for (const char c : step) {
        if (c == '~') {
          path += "~0";
        } else if (c == '/') {
          path += "~1";
        } else if (c == '%') {
          path += "%25";
        } else {
          path += c;
        }
      }
    }
    budget_.spend(path.size());
    return path;
  }

  void add(const std::string& address) {
    const auto [at, is_new] = places_.try_emplace(address, "");
    at->second = is_new ? place() : "";  // two of one name: none
  }
  void collect(const Schema& schema, const std::string& base) {
    const std::string* const id = id_of(schema);
    if (steps_.empty()) {
      places_.emplace(base, "#");
    } else if (id != nullptr) {
      add(id->starts_with('#') ? base + *id : base);
      nested_ = true;
    }
    for (const char* keyword : {"$anchor", "$dynamicAnchor"}) {
      const std::string* const name = text_of(schema, keyword);
      if (name == nullptr) continue;
      add(base + "#" + *name);
      if (keyword[1] == 'd') ++dynamic_[*name];
    }
  }

  void rewrite(Schema& schema, const std::string& base) {
    for (const char* keyword : {"$ref", "$dynamicRef"}) {
      const std::string* const text = text_of(schema, keyword);
      if (text == nullptr) continue;
      const bool from_root = *text == "#" || text->starts_with("#/");
      if (from_root && !nested_) continue;
      const auto [resource, fragment] = without_fragment(resolved(base, *text));
      if (keyword[1] == 'd' && dynamic_[fragment] > 1) continue;
      if (const std::optional<std::string> to = place_of(resource, fragment)) {
        if (from_root && !leads_to_something(*to)) continue;  // then it is the whole's
        schema[keyword] = *to;
      }
    }
  }
  std::optional<std::string> place_of(const std::string& resource, const std::string& fragment) {
    if (fragment.empty() || fragment.starts_with('/')) {
      const auto found = places_.find(resource);
      if (found == places_.end() || found->second.empty()) return std::nullopt;
      return found->second + fragment;
    }
    const auto found = places_.find(resource + "#" + fragment);
    if (found == places_.end() || found->second.empty()) return std::nullopt;
    return found->second;
  }
  bool leads_to_something(const std::string& reference) {
    try {
      resolve_reference(root_, reference, "", budget_);
      return true;
    } catch (const BudgetExceeded&) {
      throw;
    } catch (const Error&) {
      return false;
    }
  }

  Schema& root_;
  CompileBudget& budget_;
  std::vector<std::string_view> steps_;
  std::map<std::string, std::string> places_;  // of addresses, as '#/...'
  std::map<std::string, int> dynamic_;         // how many there are of each $dynamicAnchor
  bool nested_ = false;                        // whether a part has an address of its own
};

}  // namespace

void write_references_from_root(Schema& root, CompileBudget& budget) {
  References(root, budget).run();
}

}  // namespace anser
