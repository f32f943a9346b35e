#include "text/chat/chat_template.h"

#include <algorithm>

#include "anser/state.h"

namespace anser {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r", kText = "{text}";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::string with_line_ends(std::string_view text, bool blank_lines) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (!blank_lines && text[i] == '\n' && !out.empty() && out.back() == '\n') continue;
    out += text[i];
  }
  return out;
}

// One pass is enough: a form whose replacements could be part of a mark again is refused.
std::string replaced(const ChatTemplate& form, std::string_view text) {
  std::string out;
  const auto take = [&](std::string_view mark, std::string_view instead) {
    out += instead;
    text.remove_prefix(mark.size());
  };
  // As if the words stood behind a newline.
  for (const auto& [mark, instead] : form.replace) {
    const std::string_view begin = std::string_view(mark).substr(1);
    if (mark[0] != '\n' || begin.empty() || !text.starts_with(begin)) continue;
    take(begin, std::string_view(instead).substr(instead[0] == '\n' ? 1 : 0));
    break;
  }
  while (!text.empty()) {
    const auto is_here = [&](const auto& pair) { return text.starts_with(pair.first); };
    const auto found = std::ranges::find_if(form.replace, is_here);
    if (found != form.replace.end()) {
      take(found->first, found->second);
    } else {
      take(text.substr(0, 1), text.substr(0, 1));
    }
  }
  return out;
}

const std::string& pattern_of(const ChatTemplate& form, ChatRole role) {
  switch (role) {
    case ChatRole::system:
      return form.system;
    case ChatRole::user:
      return form.user;
    case ChatRole::assistant:
      return form.assistant;
    case ChatRole::tool:
      break;
  }
  return form.tool;
}

std::string head_of(const std::string& pattern) {
  return pattern.substr(0, pattern.size() - kText.size());
}

std::string render_question(const ChatTemplate& form, std::vector<ChatTurn> turns,
                            std::string_view user, Thinking thinking, bool goes_on) {
  turns.push_back({ChatRole::user, clean_words(form, user)});
  return render_turns(form, turns, goes_on).text + form.generation + form.opening(thinking);
}

}  // namespace

const std::string& ChatTemplate::opening(Thinking thinking) const {
  switch (thinking) {
    case Thinking::open:
      return thinking_open;
    case Thinking::none:
      return thinking_none;
    case Thinking::off:
      break;
  }
  return thinking_off;
}

std::string clean_words(const ChatTemplate& form, std::string_view text) {
  const std::string lines = with_line_ends(text, form.blank_lines);
  return replaced(form, trimmed(lines));
}

std::string drop_thoughts(const ChatTemplate& form, std::string_view text) {
  const std::string &start = form.think_start, &end = form.think_end;
  if (start.empty()) return std::string(text);
  std::string kept;
  const size_t close = text.find(end);
  if (close != std::string_view::npos && close < text.find(start)) {
    text.remove_prefix(close + end.size());
  }
  while (true) {
    const size_t open = text.find(start);
    kept += text.substr(0, open);
    if (open == std::string_view::npos) return kept;
    const size_t finish = text.find(end, open + start.size());
    if (finish == std::string_view::npos) return kept;
    text.remove_prefix(finish + end.size());
  }
}

std::string answer_words(const ChatTemplate& form, std::string_view answer) {
  return clean_words(form, drop_thoughts(form, answer));
}

std::string render_turn(const ChatTemplate& form, const ChatTurn& turn) {
  const std::string head = head_of(pattern_of(form, turn.role));
  // As the generation prompt does, an assistant's turn without words ends in no white space.
  if (turn.role == ChatRole::assistant && turn.words.empty()) {
    return head.substr(0, head.find_last_not_of(kSpaces) + 1);
  }
  return head + turn.words;
}

RenderedTurns render_turns(const ChatTemplate& form, std::span<const ChatTurn> turns,
                           bool goes_on) {
  RenderedTurns rendered{goes_on ? form.separator : form.prefix, {}};
  for (const ChatTurn& turn : turns) {
    rendered.text += render_turn(form, turn) + form.separator;
    rendered.turn_ends.push_back(rendered.text.size());
  }
  return rendered;
}

size_t separator_read(const ChatTemplate& form, std::string_view text_end) {
  const auto ends_with = [&](std::string_view text) {
    // Of a longer text only the end is known.
    const size_t seen =
        text_end.size() < State::kTextEnd ? text.size() : std::min(text.size(), text_end.size());
    return text_end.ends_with(text.substr(text.size() - seen));
  };
  if (!form.generation.empty() && ends_with(form.generation)) return 0;
  for (const std::string* pattern : {&form.system, &form.user, &form.assistant, &form.tool}) {
    const std::string head = head_of(*pattern);
    if (!head.empty() && ends_with(head)) return 0;
  }
  // A part of the mark in the separator may as well be words, "a <" before "<|im_end|>".
  const std::string_view separator = form.separator;
  const size_t mark = std::min(separator.size(), separator.find_first_not_of(kSpaces));
  const size_t mark_end = separator.find_last_not_of(kSpaces) + 1;
  for (size_t size = separator.size(); size > 0; --size) {
    const bool known = size <= mark || size >= mark_end;
    if (known && ends_with(separator.substr(0, size))) return size;
  }
  return 0;
}

std::string render_first_turn(const ChatTemplate& form, std::string_view user,
                              std::string_view system, Thinking thinking) {
  std::vector<ChatTurn> turns;
  const std::string rules = clean_words(form, system);
  if (!rules.empty()) turns.push_back({ChatRole::system, rules});
  return render_question(form, std::move(turns), user, thinking, false);
}

std::string render_later_turn(const ChatTemplate& form, std::string_view user, Thinking thinking) {
  return render_question(form, {}, user, thinking, true);
}

}  // namespace anser
