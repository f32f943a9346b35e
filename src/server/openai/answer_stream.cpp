#include "server/openai/answer_stream.h"

#include <algorithm>

#include "server/openai/json_depth.h"

namespace anser::openai {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";
constexpr std::string_view kCallOpen = "```json", kFence = "```";
constexpr std::string_view kSpaces = " \t\n\v\f\r";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

// How much of the end of `text` could be the beginning of `mark`.
size_t begun_at_end(std::string_view text, std::string_view mark) {
  for (size_t size = std::min(text.size(), mark.size() - 1); size > 0; --size) {
    if (text.ends_with(mark.substr(0, size))) return size;
  }
  return 0;
}

// The object that `text` begins with: up to the bracket that closes it. Fences may stand in its
// strings.
std::string_view object_at(std::string_view text) {
  JsonDepth depth;
  for (size_t i = 0; i < text.size(); ++i) {
    if (depth.take(text[i]) == 0 && (text[i] == '}' || text[i] == ']'))
      return text.substr(0, i + 1);
  }
  return text;
}

}  // namespace

AnswerStream::AnswerStream(std::string_view opening, const std::vector<Tool>& tools)
    : tools_(tools), held_(opening) {}

std::vector<AnswerStream::Part> AnswerStream::push(std::string_view text) {
  std::vector<Part> parts;
  held_ += text;
  read(false, parts);
  return parts;
}

std::vector<AnswerStream::Part> AnswerStream::finish() {
  std::vector<Part> parts;
  read(true, parts);
  return parts;
}

void AnswerStream::read(bool end, std::vector<Part>& parts) {
  if (place_ == Place::start || place_ == Place::after_thought) {
    held_.erase(0, std::min(held_.size(), held_.find_first_not_of(kSpaces)));
    const bool may_think = place_ == Place::start, may_call = !tools_.empty();
    const auto undecided = [&](std::string_view mark) {
      return !end && held_.size() < mark.size() && mark.starts_with(held_);
    };
    if (held_.empty() || (may_think && undecided(kThinkOpen)) ||
        (may_call && undecided(kCallOpen))) {
      return;
    }
    if (may_think && held_.starts_with(kThinkOpen)) {
      held_.erase(0, kThinkOpen.size());
      place_ = Place::thought;
    } else {
      place_ = may_call && held_.starts_with(kCallOpen) ? Place::call : Place::words;
    }
  }
  if (place_ == Place::thought) {
    const size_t close = held_.find(kThinkClose);
    if (close == std::string::npos) {
      const size_t kept = end ? 0 : begun_at_end(held_, kThinkClose);
      give(Part::Kind::reasoning, std::string_view(held_).substr(0, held_.size() - kept), parts);
      held_.erase(0, held_.size() - kept);
      return;
    }
    give(Part::Kind::reasoning, std::string_view(held_).substr(0, close), parts);
    held_.erase(0, close + kThinkClose.size());
    place_ = Place::after_thought;
    begun_ = false;
    spaces_.clear();
    return read(end, parts);
  }
  if (place_ == Place::call) {
    if (!end) return;
    if (give_call(parts)) return held_.clear();
    place_ = Place::words;
  }
  give(Part::Kind::content, held_, parts);
  held_.clear();
}

// White space waits for what follows it, so that none is given out at either end.
void AnswerStream::give(Part::Kind kind, std::string_view text, std::vector<Part>& parts) {
  std::string whole = spaces_ + std::string(text);
  if (!begun_) whole.erase(0, std::min(whole.size(), whole.find_first_not_of(kSpaces)));
  const size_t last = whole.find_last_not_of(kSpaces);
  const size_t size = last == std::string::npos ? 0 : last + 1;
  spaces_ = whole.substr(size);
  whole.resize(size);
  if (whole.empty()) return;
  begun_ = true;
  parts.push_back({kind, std::move(whole), {}});
}

bool AnswerStream::give_call(std::vector<Part>& parts) {
  const std::string_view body = trimmed(std::string_view(held_).substr(kCallOpen.size()));
  const std::string_view text = object_at(body), rest = trimmed(body.substr(text.size()));
  if (!rest.starts_with(kFence) && !kFence.starts_with(rest)) return false;
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) return false;
  const auto name = object.find("name");
  if (name == object.end() || !name->is_string()) return false;
  const auto is_it = [&](const Tool& tool) { return tool.name == name->get<std::string>(); };
  if (std::ranges::none_of(tools_, is_it)) return false;
  auto arguments = object.find("arguments");
  if (arguments == object.end()) arguments = object.find("parameters");
  parts.push_back({Part::Kind::call,
                   arguments == object.end()
                       ? "{}"
                       : arguments->dump(-1, ' ', false, Json::error_handler_t::replace),
                   name->get<std::string>()});
  return true;
}

}  // namespace anser::openai
