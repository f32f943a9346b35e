#include "server/openai/answer_stream.h"

#include <algorithm>
#include <utility>

#include "server/openai/call_reader.h"
#include "server/openai/tool_text.h"

namespace anser::openai {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";
constexpr std::string_view kCallMarks[] = {kCallHeading, kCallTag, kCallFence};

// How much of the end of `text` could be the beginning of `mark`.
size_t begun_at_end(std::string_view text, std::string_view mark) {
  for (size_t size = std::min(text.size(), mark.size() - 1); size > 0; --size) {
    if (text.ends_with(mark.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

AnswerStream::AnswerStream(const ChatTemplate& form, std::string_view opening,
                           const std::vector<Tool>& tools, bool several_calls)
    : think_start_(form.think_start),
      think_end_(form.think_end),
      format_(form.tools),
      tools_(tools),
      several_calls_(several_calls),
      held_(opening),
      written_(opening.find(kCallFence) != std::string_view::npos) {}

void AnswerStream::prefill(const Prefill& prefill) {
  if (prefill.text.empty()) return;
  push(prefill.text);
  written_ = false;
  prefilled_ = held_.size();
  spaces_.clear();
  // What may be words or the mark of a thought: the latter begins anew.
  if (place_ == Place::start) begun_ = true;
  if (prefill.spaced) begun_ = false;
}

std::vector<AnswerStream::Part> AnswerStream::push(std::string_view text) {
  std::vector<Part> parts;
  if (text.empty()) return parts;
  written_ = true;
  held_ += text;
  read(false, parts);
  return parts;
}

std::vector<AnswerStream::Part> AnswerStream::finish() {
  std::vector<Part> parts;
  if (written_) read(true, parts);
  return parts;
}

void AnswerStream::read(bool end, std::vector<Part>& parts) {
  for (bool goes_on = true; goes_on;) {
    switch (place_) {
      case Place::start:
      case Place::after_thought:
        goes_on = read_start(end);
        break;
      case Place::thought:
        goes_on = read_thought(end, parts);
        break;
      case Place::words:
        goes_on = read_words(end, parts);
        break;
    }
  }
}

bool AnswerStream::read_start(bool end) {
  held_.erase(0, std::min(held_.size(), held_.find_first_not_of(kSpaces)));
  const bool may_think = place_ == Place::start && !think_start_.empty();
  if (held_.empty()) return false;
  const bool undecided = !end && held_.size() < think_start_.size() &&
                         std::string_view(think_start_).starts_with(held_);
  if (may_think && undecided) return false;
  if (may_think && held_.starts_with(think_start_)) {
    held_.erase(0, think_start_.size());
    prefilled_ = 0;
    begun_ = false;
    place_ = Place::thought;
  } else {
    place_ = Place::words;
  }
  return true;
}

bool AnswerStream::read_thought(bool end, std::vector<Part>& parts) {
  const size_t close = held_.find(think_end_);
  if (close == std::string::npos) {
    const size_t kept = end ? 0 : begun_at_end(held_, think_end_);
    give(Part::Kind::reasoning, std::string_view(held_).substr(0, held_.size() - kept), parts);
    held_.erase(0, held_.size() - kept);
    return false;
  }
  give(Part::Kind::reasoning, std::string_view(held_).substr(0, close), parts);
  held_.erase(0, close + think_end_.size());
  prefilled_ = 0;
  place_ = Place::after_thought;
  begun_ = false;
  spaces_.clear();
  return true;
}

std::optional<AnswerStream::Mark> AnswerStream::find_call() const {
  if (tools_.empty()) return std::nullopt;
  if (format_ == ToolFormat::lines) {
    if (!may_call_ || !held_.starts_with(kCallFence)) return std::nullopt;
    return Mark{0, kCallFence};
  }
  Mark first{std::string::npos, {}};
  for (const std::string_view mark : kCallMarks) {
    const size_t at = held_.find(mark);
    if (at < first.at) first = {at, mark};
  }
  if (first.at == std::string::npos) return std::nullopt;
  return first;
}

size_t AnswerStream::begun_call_at_end() const {
  if (tools_.empty()) return 0;
  if (format_ == ToolFormat::lines) {
    const bool begun = may_call_ && kCallFence.starts_with(held_);
    return begun ? held_.size() : 0;
  }
  size_t most = 0;
  for (const std::string_view mark : kCallMarks) most = std::max(most, begun_at_end(held_, mark));
  return most;
}

// True when something was taken away and more may be found.
bool AnswerStream::read_words(bool end, std::vector<Part>& parts) {
  if (called_ && !several_calls_) {
    held_.clear();
    return false;
  }
  const auto give_words = [&](size_t size) {
    if (!called_) give(Part::Kind::content, std::string_view(held_).substr(0, size), parts);
    held_.erase(0, size);
  };
  const std::optional<Mark> mark = find_call();
  if (!mark) {
    const size_t kept = end ? 0 : begun_call_at_end();
    if (held_.size() > kept) {
      give_words(held_.size() - kept);
      may_call_ = false;
    }
    return false;
  }
  give_words(mark->at);
  // There the call is the whole answer.
  if (format_ == ToolFormat::lines && !end) return false;
  ReadCall call = read_call(held_, mark->text, tools_, end);
  if (call.verdict == ReadCall::Verdict::undecided) return false;
  may_call_ = false;
  if (call.verdict == ReadCall::Verdict::none) {
    give_words(mark->text.size());
    return true;
  }
  called_ = true;
  prefilled_ = 0;
  held_.erase(0, call.size);
  parts.push_back({Part::Kind::call, std::move(call.arguments), std::move(call.name)});
  return true;
}

// White space waits for what follows it, so that none is given out at either end.
void AnswerStream::give(Part::Kind kind, std::string_view text, std::vector<Part>& parts) {
  const size_t known = std::min(prefilled_, text.size());
  text.remove_prefix(known);
  prefilled_ -= known;
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

}  // namespace anser::openai
