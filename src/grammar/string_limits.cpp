#include "grammar/string_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/cut_text.h"
#include "grammar/leaf_keywords.h"
#include "grammar/schema_values.h"
#include "grammar/string_formats.h"

namespace anser {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& pointer) : pointer_(pointer) {}

  StringLimits read(const Schema& schema) {
    const Counts length = schema_counts(schema, "minLength", "maxLength", pointer_);
    limits_.least = length.least;
    limits_.most = length.most;
    take(schema);
    if (schema.contains(kAlso)) {
      for (const Schema& more : schema[kAlso]) {
        if (more.is_object()) take(more);
      }
    }
    return std::move(limits_);
  }

 private:
  void take(const Schema& schema) {
    if (const std::string* pattern = text(schema, "pattern")) add(limits_.patterns, *pattern);
    if (const std::string* name = text(schema, "format")) {
      const bool is_web = *name == "uri" && limits_.most == kLongestWebUri;
      add(string_format(is_web ? kWebUri : *name));
    }
    if (const std::string* name = text(schema, "contentEncoding")) add(content_encoding(*name));
    if (const std::string* name = text(schema, "contentMediaType")) add(content_media_type(*name));
  }

  const std::string* text(const Schema& schema, const char* keyword) const {
    if (!schema.contains(keyword)) return nullptr;
    const Schema& value = schema[keyword];
    if (!value.is_string()) {
      fail_at(pointer_,
              fmt::format("'{}' is {}, expected a string", keyword, cut_text(value.dump())));
    }
    return &value.get_ref<const std::string&>();
  }

  void add(const std::optional<StringFormat>& format) {
    if (!format) return;
    limits_.most = std::min(limits_.most, format->most);
    if (add(limits_.formats, format->pattern)) {
      limits_.wider.push_back(format->wider.empty() ? format->pattern : format->wider);
    }
  }
  static bool add(std::vector<std::string>& list, const std::string& one) {
    if (std::ranges::find(list, one) != list.end()) return false;
    list.push_back(one);
    return true;
  }

  const std::string& pointer_;
  StringLimits limits_;
};

}  // namespace

StringLimits string_limits(const Schema& schema, const std::string& pointer) {
  return Reader(pointer).read(schema);
}

}  // namespace anser
