#include "text/chat_templates.h"

#include <fmt/format.h>

#include "anser/error.h"

namespace anser {

namespace {

constexpr char kFlower[] = "\xE2\x9C\xBF";  // U+273F, the mark of fill-in-the-middle
constexpr std::string_view kThinkOpen = "<think>";
constexpr std::string_view kThinkClose = "</think>";
constexpr std::string_view kSpaces = " \t\n\v\f\r";

struct Name {
  Template format;
  const char* name;
};
constexpr Name kNames[] = {{Template::raw, "raw"},
                           {Template::chat, "chat"},
                           {Template::think, "think"},
                           {Template::fake_think, "fake-think"},
                           {Template::fim, "fim"}};

bool has_turns(Template format) {
  return format != Template::raw && format != Template::fim;
}

// What the prompt writes of the answer.
std::string_view answer_opening(Template format) {
  if (format == Template::think) return " <think";
  if (format == Template::fake_think) return " <think>\n</think";
  return "";
}

std::string user_turn(Template format, std::string_view user) {
  return fmt::format("User: {}\n\nAssistant:{}", clean_role_text(user), answer_opening(format));
}

std::string system_part(std::string_view system) {
  const std::string text = clean_role_text(system);
  return text.empty() ? "" : fmt::format("System: {}\n\n", text);
}

void check_turns(Template format) {
  if (!has_turns(format)) {
    throw Error(fmt::format("the template {} has no turns; use chat, think or fake-think",
                            template_name(format)));
  }
}

}  // namespace

Template template_from_name(std::string_view name) {
  for (const Name& known : kNames) {
    if (name == known.name) return known.format;
  }
  throw Error(
      fmt::format("no template is called '{}'; there are raw, chat, think, fake-think, fim", name));
}

const char* template_name(Template format) {
  for (const Name& known : kNames) {
    if (format == known.format) return known.name;
  }
  return "?";
}

std::string render_prompt(Template format, const Prompt& prompt) {
  const auto refuse = [&](bool given, const char* what, const char* where) {
    if (!given) return;
    throw Error(fmt::format("the template {} has no place for {}; {} takes one",
                            template_name(format), what, where));
  };
  refuse(!has_turns(format) && !prompt.system.empty(), "a system text", "chat");
  refuse(!has_turns(format) && !prompt.history.empty(), "a history", "chat");
  refuse(format != Template::fim && !prompt.suffix.empty(), "a suffix", "fim");

  if (format == Template::raw) return prompt.text;
  if (format == Template::fim) {
    return fmt::format("{0}prefix{0}{0}suffix{0}{1}{0}middle{0}{2}", kFlower, prompt.suffix,
                       prompt.text);
  }
  std::string text = system_part(prompt.system);
  for (const Turn& turn : prompt.history) {
    const std::string answer = clean_role_text(drop_thoughts(turn.assistant));
    text += user_turn(Template::chat, turn.user);
    if (!answer.empty()) text += " " + answer;
    text += "\n\n";
  }
  return text + user_turn(format, prompt.text);
}

std::string render_first_turn(Template format, std::string_view user, std::string_view system) {
  check_turns(format);
  return system_part(system) + user_turn(format, user);
}

std::string render_later_turn(Template format, std::string_view user) {
  check_turns(format);
  return "\n\n" + user_turn(format, user);
}

std::vector<std::string> default_stops(Template format) {
  if (format == Template::raw) return {};
  if (format == Template::fim) return {kFlower};
  return {"\n\nUser:", "\nUser:", "\n\nSystem:"};
}

std::string clean_role_text(std::string_view text) {
  std::string cleaned;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (text[i] == '\n' && !cleaned.empty() && cleaned.back() == '\n') continue;
    cleaned += text[i];
  }
  const size_t begin = cleaned.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return "";
  return cleaned.substr(begin, cleaned.find_last_not_of(kSpaces) - begin + 1);
}

std::string drop_thoughts(std::string_view text) {
  std::string kept;
  const size_t close = text.find(kThinkClose);
  if (close != std::string_view::npos && close < text.find(kThinkOpen)) {
    text.remove_prefix(close + kThinkClose.size());
  }
  while (true) {
    const size_t open = text.find(kThinkOpen);
    kept += text.substr(0, open);
    if (open == std::string_view::npos) return kept;
    const size_t end = text.find(kThinkClose, open);
    if (end == std::string_view::npos) return kept;
    text.remove_prefix(end + kThinkClose.size());
  }
}

}  // namespace anser
