#include "text/chat/choose_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>

#include "text/chat/builtin_templates.h"
#include "text/vocabulary.h"

namespace anser {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r", kByteOrderMark = "\xEF\xBB\xBF";

struct Mark {
  const char* text;
  const char* form;
};
// A template of G1h and newer may hold several, for it has a part for tools.
constexpr Mark kMarks[] = {{"\u273f", "flower"},     {"\\u273f", "flower"}, {"\\u273F", "flower"},
                           {"### User", "markdown"}, {"User:", "chat"},     {"Assistant:", "chat"}};
constexpr const char* kWorldWord = "rwkv-world";

std::string_view trimmed(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::optional<Mark> mark_in(std::string_view text) {
  if (text == kWorldWord) return Mark{kWorldWord, "chat"};
  for (const Mark& mark : kMarks) {
    if (text.find(mark.text) != std::string_view::npos) return mark;
  }
  return std::nullopt;
}

// The letter behind "g1", in small: 'k' of "RWKV7-G1k-2.9B", 'a' of "rwkv7-g1a4-0.1b". 0: there is
// none. The word must stand by itself.
char g1_letter(std::string_view name) {
  const auto at = [&](size_t i) {
    return i < name.size() ? char(std::tolower(uint8_t(name[i]))) : '\0';
  };
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t i = 0; i + 2 < name.size(); ++i) {
    if (at(i) != 'g' || at(i + 1) != '1' || !is_letter(at(i + 2))) continue;
    if (i > 0 && (is_letter(at(i - 1)) || is_digit(at(i - 1)))) continue;
    size_t end = i + 3;
    while (is_digit(at(end))) ++end;
    if (!is_letter(at(end))) return at(i + 2);
  }
  return '\0';
}

ChosenTemplate by_name(const ChatClues& clues) {
  const std::string name = telling_name(clues);
  if (name.empty()) return {builtin_template("chat"), "nothing says otherwise", {}};
  return {builtin_template(g1_letter(name) >= 'h' ? "flower" : "chat"),
          fmt::format("the model is called {}", anser::quoted(name)),
          {}};
}

}  // namespace

std::string telling_name(const ChatClues& clues) {
  const auto tells = [](const std::string& name) { return g1_letter(name) != '\0'; };
  const auto found = std::ranges::find_if(clues.names, tells);
  return found == clues.names.end() ? "" : *found;
}

bool fills_gaps(const ChatClues& clues, const ChatTemplate& form) {
  return g1_letter(telling_name(clues)) >= 'c' || form.tools == ToolFormat::markdown;
}

ChosenTemplate choose_template(const ChatClues& clues) {
  const std::string_view text = trimmed(clues.template_text);
  // llama.cpp's converter writes this word into every RWKV file, so a name that tells says more.
  const bool says_nothing = text == kWorldWord && !telling_name(clues).empty();
  if (text.empty() || says_nothing) return by_name(clues);
  if (const std::optional<Mark> mark = mark_in(text)) {
    return {builtin_template(mark->form),
            fmt::format("{} has {}", clues.template_source, mark->text),
            {}};
  }
  ChosenTemplate chosen = by_name(clues);
  chosen.note = fmt::format(
      "{}: a chat template in no form that is known here (none of \u273f, ### User, User: and "
      "Assistant: is in it); used instead: {} ({}). --template NAME or --template-file FILE choose "
      "another",
      clues.template_source, chosen.form.name, chosen.why);
  return chosen;
}

}  // namespace anser
