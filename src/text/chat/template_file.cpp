#include "text/chat/template_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "anser/error.h"
#include "base/mapped_file.h"
#include "base/read_json.h"
#include "text/vocabulary.h"

namespace anser {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxDepth = 8, kMaxKeys = 256, kMaxStops = 16;
constexpr std::string_view kText = "{text}", kSpaces = " \t\n\v\f\r";
constexpr std::string_view kUserOutput = "Function output:\n";

struct ThinkingName {
  Thinking thinking;
  const char* name;
};
constexpr ThinkingName kThinking[] = {
    {Thinking::off, "off"}, {Thinking::none, "none"}, {Thinking::open, "open"}};
struct ToolsName {
  ToolFormat format;
  const char* name;
};
constexpr ToolsName kTools[] = {{ToolFormat::lines, "lines"}, {ToolFormat::markdown, "markdown"}};

// An object of the file. Every key that is not asked for is an error.
class Object {
 public:
  Object(const Json& json, std::string path, const std::string& source)
      : json_(json), path_(std::move(path)), source_(source) {
    if (!json.is_object()) fail("expected an object, found {}", json.type_name());
  }

  template <class... Arguments>
  [[noreturn]] void fail(fmt::format_string<Arguments...> text, Arguments&&... arguments) const {
    throw Error(fmt::format("{}: {}{}{}", source_, path_, path_.empty() ? "" : ": ",
                            fmt::format(text, std::forward<Arguments>(arguments)...)));
  }
  template <class... Arguments>
  [[noreturn]] void fail_at(const std::string& key, fmt::format_string<Arguments...> text,
                            Arguments&&... arguments) const {
    throw Error(fmt::format("{}: {}: {}", source_, path_of(key),
                            fmt::format(text, std::forward<Arguments>(arguments)...)));
  }

  const Json* find(const std::string& key) {
    known_.insert(key);
    const auto at = json_.find(key);
    return at == json_.end() ? nullptr : &*at;
  }
  std::string text(const std::string& key) {
    const Json* value = find(key);
    if (value == nullptr) fail("the key {} is missing", key);
    if (!value->is_string()) fail_at(key, "expected a text, found {}", value->type_name());
    return value->get<std::string>();
  }
  std::string text_or(const std::string& key, std::string otherwise) {
    return find(key) == nullptr ? std::move(otherwise) : text(key);
  }
  bool flag_or(const std::string& key, bool otherwise) {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) fail_at(key, "expected true or false, found {}", value->type_name());
    return value->get<bool>();
  }
  template <class Names>
  auto word_or(const std::string& key, const Names& names, decltype(names[0].name) otherwise) {
    const std::string word = text_or(key, otherwise);
    std::string list;
    for (const auto& [value, name] : names) {
      if (word == name) return value;
      list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
    }
    fail_at(key, "expected one of {}, found {}", list, anser::quoted(word));
  }
  Object object(const std::string& key) {
    const Json* value = find(key);
    if (value == nullptr) fail("the key {} is missing", key);
    return Object(*value, path_of(key), source_);
  }

  std::string path_of(const std::string& key) const {
    return path_.empty() ? key : path_ + "." + key;
  }
  const Json& json() const { return json_; }

  // After all keys have been asked for.
  void check_keys() const {
    std::string list;
    for (const std::string& key : known_)
      list += fmt::format("{}{}", list.empty() ? "" : ", ", key);
    for (const auto& [key, value] : json_.items()) {
      if (!known_.contains(key)) {
        fail("the key {} is not known; there are {}", anser::quoted(key), list);
      }
    }
  }

 private:
  const Json& json_;
  const std::string path_;
  const std::string& source_;
  std::set<std::string> known_;
};

std::string head_of(const std::string& pattern) {
  return pattern.substr(0, pattern.size() - kText.size());
}

std::string_view without_end_spaces(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);
}

// What follows a turn is the separator, which is read with the next turn.
std::string read_pattern(Object& roles, const char* role) {
  const std::string pattern = roles.text(role);
  if (pattern.find(kText) == std::string::npos) {
    roles.fail_at(role, "expected {} at its end, where the role's words come", kText);
  }
  if (pattern.find(kText) + kText.size() != pattern.size()) {
    roles.fail_at(role, "expected {} once, at its end: what follows the words is the separator",
                  kText);
  }
  return pattern;
}

void read_roles(Object roles, ChatTemplate& form) {
  form.system = read_pattern(roles, "system");
  form.user = read_pattern(roles, "user");
  form.assistant = read_pattern(roles, "assistant");
  form.tool = roles.find("tool") != nullptr
                  ? read_pattern(roles, "tool")
                  : fmt::format("{}{}{}", head_of(form.user), kUserOutput, kText);
  roles.check_keys();
}

void check_generation_end(const Object& generation, const std::string& key,
                          const std::string& text) {
  if (text.ends_with(' ')) {
    generation.fail_at(key, "it ends in a space, which belongs to the model's first token");
  }
}

void read_generation(Object generation, ChatTemplate& form) {
  form.generation = generation.text("prompt");
  form.thinking_off = generation.text_or("off", "");
  form.thinking_none = generation.text_or("none", form.thinking_off);
  form.thinking_open = generation.text_or("open", form.thinking_off);
  form.usual = generation.word_or("usual", kThinking, "off");
  form.low_effort = generation.text_or("low_effort", "");
  form.high_effort = generation.text_or("high_effort", "");
  for (const auto& [thinking, name] : kThinking) {
    check_generation_end(generation, name, form.generation + form.opening(thinking));
  }
  const std::string head = head_of(form.assistant);
  if (!std::string_view(head).starts_with(form.generation)) {
    generation.fail_at("prompt",
                       "expected the beginning of roles.assistant, {}, so that answers stand in "
                       "history as they were written; found {}",
                       anser::quoted(without_end_spaces(head)), anser::quoted(form.generation));
  }
  generation.check_keys();
}

void read_thinking(Object& file, ChatTemplate& form) {
  if (file.find("thinking") == nullptr) {
    if (form.thinking_open != form.thinking_off || form.thinking_none != form.thinking_off) {
      file.fail_at("thinking",
                   "it is missing: generation opens thoughts, and nothing says what is "
                   "around one");
    }
    return;
  }
  Object thinking = file.object("thinking");
  form.think_start = thinking.text("start");
  form.think_end = thinking.text("end");
  if (form.think_start.empty()) thinking.fail_at("start", "expected a text that is not empty");
  if (form.think_end.empty()) thinking.fail_at("end", "expected a text that is not empty");
  thinking.check_keys();
}

std::vector<std::string> read_stops(Object& file) {
  const Json* list = file.find("stops");
  if (list == nullptr) file.fail("the key stops is missing");
  if (!list->is_array() || list->empty() || list->size() > kMaxStops) {
    file.fail_at("stops", "expected a list of 1 to {} texts", kMaxStops);
  }
  std::vector<std::string> stops;
  for (const Json& stop : *list) {
    if (!stop.is_string() || stop.get_ref<const std::string&>().empty()) {
      file.fail_at("stops", "expected texts that are not empty, found {}",
                   stop.is_string() ? "an empty one" : stop.type_name());
    }
    stops.push_back(stop.get<std::string>());
  }
  return stops;
}

// `a` ends with what `b` begins with, but for all of either.
bool overlap(std::string_view a, std::string_view b) {
  for (size_t size = 1; size < std::min(a.size(), b.size()); ++size) {
    if (a.ends_with(b.substr(0, size))) return true;
  }
  return false;
}

// Whether a mark could stand in a text after it was taken out of it.
void check_replacements(const Object& replace, const ChatTemplate& form) {
  for (const auto& [from, to] : form.replace) {
    if (to.empty()) {
      replace.fail(
          "{}: expected a text that is not empty: what is around the mark could become one",
          anser::quoted(from));
    }
    for (const auto& [mark, unused] : form.replace) {
      const bool inside = to.find(mark) != std::string::npos || mark.find(to) != std::string::npos;
      if (inside || overlap(to, mark) || overlap(mark, to)) {
        replace.fail("{}: what stands for it, {}, could become a part of the mark {}",
                     anser::quoted(from), anser::quoted(to), anser::quoted(mark));
      }
    }
  }
}

void read_words(Object words, ChatTemplate& form) {
  form.blank_lines = words.flag_or("blank_lines", true);
  Object replace = words.object("replace");
  for (const auto& [mark, text] : replace.json().items()) {
    if (mark.empty()) replace.fail("a mark is empty");
    if (!text.is_string()) {
      replace.fail("{}: expected a text, found {}", anser::quoted(mark), text.type_name());
    }
    form.replace.emplace_back(mark, text.get<std::string>());
  }
  check_replacements(replace, form);
  words.check_keys();
}

Json read_file(std::string_view text, const std::string& source) {
  try {
    return read_json<Json>(text, {.depth = kMaxDepth, .keys = kMaxKeys, .repeated_keys = false});
  } catch (const JsonFault& fault) {
    switch (fault.kind) {
      case JsonFault::Kind::repeated_key:
        throw Error(
            fmt::format("{}: the key {} stands there twice", source, anser::quoted(fault.key)));
      case JsonFault::Kind::too_deep:
        throw Error(fmt::format("{}: nested more than {} deep", source, kMaxDepth));
      case JsonFault::Kind::too_many_keys:
        throw Error(fmt::format("{}: an object has more than {} keys", source, kMaxKeys));
      case JsonFault::Kind::too_many_values:  // which so few bytes cannot hold
      case JsonFault::Kind::syntax:
        break;
    }
    throw Error(
        fmt::format("{}: not valid JSON at byte {} (or not UTF-8)", source, fault.position));
  }
}

}  // namespace

ChatTemplate parse_template(std::string_view json, const std::string& source) {
  if (json.size() > kMaxTemplateBytes) {
    throw Error(fmt::format("{}: a chat form has at most {} bytes, found {}", source,
                            kMaxTemplateBytes, json.size()));
  }
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (json.starts_with(kByteOrderMark)) json.remove_prefix(kByteOrderMark.size());
  const Json parsed = read_file(json, source);
  Object file(parsed, "", source);
  ChatTemplate form;
  form.name = file.text("name");
  if (form.name.empty()) file.fail_at("name", "expected a text that is not empty");
  if (file.find("prefix") != nullptr) {
    Object prefix = file.object("prefix");
    form.begin_token = prefix.flag_or("token_0", false);
    form.prefix = prefix.text_or("text", "");
    prefix.check_keys();
  }
  read_roles(file.object("roles"), form);
  form.separator = file.text("separator");
  if (form.separator.empty()) file.fail_at("separator", "expected a text that is not empty");
  read_generation(file.object("generation"), form);
  read_thinking(file, form);
  form.stops = read_stops(file);
  read_words(file.object("words"), form);
  form.tools = file.word_or("tools", kTools, "lines");
  file.check_keys();
  return form;
}

ChatTemplate read_template_file(const std::string& path) {
  const auto file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return parse_template({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

std::string template_json(const ChatTemplate& form) {
  const auto name_of = [](const auto& names, auto value) -> std::string {
    for (const auto& [known, name] : names) {
      if (known == value) return name;
    }
    return "?";
  };
  Json replace = Json::object();
  for (const auto& [mark, text] : form.replace) replace[mark] = text;
  Json file = {{"name", form.name},
               {"prefix", {{"token_0", form.begin_token}, {"text", form.prefix}}},
               {"roles",
                {{"system", form.system},
                 {"user", form.user},
                 {"assistant", form.assistant},
                 {"tool", form.tool}}},
               {"separator", form.separator},
               {"generation",
                {{"prompt", form.generation},
                 {"off", form.thinking_off},
                 {"none", form.thinking_none},
                 {"open", form.thinking_open},
                 {"usual", name_of(kThinking, form.usual)},
                 {"low_effort", form.low_effort},
                 {"high_effort", form.high_effort}}}};
  if (!form.think_start.empty()) {
    file["thinking"] = {{"start", form.think_start}, {"end", form.think_end}};
  }
  file["stops"] = form.stops;
  file["words"] = {{"blank_lines", form.blank_lines}, {"replace", std::move(replace)}};
  file["tools"] = name_of(kTools, form.tools);
  return file.dump(2) + "\n";
}

}  // namespace anser
