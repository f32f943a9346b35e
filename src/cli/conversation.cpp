#include "cli/conversation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "anser/error.h"
#include "cli/feed.h"
#include "cli/story.h"
#include "text/prose.h"

namespace anser {
namespace {

// States that /undo may go back to, all branches having their own: some 16 turns of a large model,
// whose state takes 35 MB, are 0.5 GB.
constexpr size_t kMostPast = 16;

int newlines_at_end(std::string_view text) {
  const size_t last = text.find_last_not_of('\n');
  return int(text.size() - (last == std::string_view::npos ? 0 : last + 1));
}

// How much of what ends a turn the answer has had already: its longest end that begins the
// separator.
size_t end_of_separator(const ChatTemplate& form, std::string_view answer) {
  const std::string_view separator = form.separator;
  size_t size = std::min(separator.size(), answer.size());
  while (!answer.ends_with(separator.substr(0, size))) --size;
  return size;
}

}  // namespace

Conversation::Conversation(Engine& engine, ConversationOptions options)
    : engine_(engine), options_(std::move(options)), current_(&branches_[name_]) {
  current_->now = {engine_.model().initial_state()};
}

Generated Conversation::answer(std::string_view user, const OnText& on_text) {
  const Point before = current_->now;
  const ChatTemplate& form = options_.form;
  const bool first = before.state.tokens() == 0;
  const auto encode_turn = [&](const std::string& text) {
    std::vector<Token> tokens = encode(text);
    if (first && form.begin_token) begin_text(tokens);
    return tokens;
  };
  std::string prompt = first ? render_first_turn(form, user, options_.system, form.usual)
                             : render_later_turn(form, user, form.usual);
  prompt.erase(0, before.separated);
  // Works on a copy: should anything fail, the turn has not happened.
  State state = before.state;
  feed(engine_, state, encode_turn(prompt));
  const Generated answer = generate(engine_, state, next_generation(), on_text);

  size_t separated = end_of_separator(form, answer.text);
  if (const std::string& opening = form.opening(form.usual); !opening.empty()) {
    // The prompt has opened the thought that the answer goes on with.
    const std::string words = answer_words(form, opening + answer.text);
    prompt.erase(prompt.size() - form.generation.size() - opening.size());
    state = before.state;
    feed(engine_, state, encode_turn(prompt + render_turn(form, {ChatRole::assistant, words})));
    separated = 0;
  }
  current_->now = {std::move(state), newlines_at_end(answer.text), separated};
  remember(before);
  return answer;
}

Generated Conversation::write_on(std::string_view line, const OnText& on_text) {
  const Point before = current_->now;
  const bool first = before.state.tokens() == 0;
  const std::string written = joined_line(line, first || before.newlines > 0);
  std::vector<Token> tokens = encode(written);
  if (first) begin_text(tokens);
  State state = before.state;
  feed(engine_, state, tokens);
  const Generated text = generate_sentences(engine_, state, next_generation(), written, on_text);

  const std::string added = written + text.text;
  const int newlines = added.empty() ? before.newlines : newlines_at_end(added);
  current_->now = text.reason == StopReason::stop_token ? Point{engine_.model().initial_state()}
                                                        : Point{std::move(state), newlines, 0};
  remember(before);
  return text;
}

GenerateOptions Conversation::next_generation() {
  GenerateOptions generation = options_.generation;
  generation.sampling.seed += turn_++;  // an answer that is asked for again may differ
  return generation;
}

bool Conversation::undo() {
  if (current_->past.empty()) return false;
  current_->now = std::move(current_->past.back());
  current_->past.pop_back();
  return true;
}

void Conversation::reset() {
  remember(std::move(current_->now));
  current_->now = {engine_.model().initial_state()};
}

void Conversation::save(const std::string& path) const {
  current_->now.state.save(path);
}

void Conversation::load(const std::string& path) {
  Point loaded{engine_.model().load_state(path)};
  remember(std::move(current_->now));
  current_->now = std::move(loaded);
}

void Conversation::fork(const std::string& name) {
  if (branches_.contains(name)) {
    throw Error(fmt::format("there is a branch {} already; /switch {} goes there", name, name));
  }
  Branch& branch = branches_[name];
  branch.now = current_->now;
  current_ = &branch;
  name_ = name;
}

void Conversation::switch_to(const std::string& name) {
  const auto found = branches_.find(name);
  if (found == branches_.end()) {
    throw Error(
        fmt::format("there is no branch {}; there are {}", name, fmt::join(branches(), ", ")));
  }
  current_ = &found->second;
  name_ = name;
}

std::vector<std::string> Conversation::branches() const {
  std::vector<std::string> names;
  for (const auto& [name, branch] : branches_) names.push_back(name);
  return names;
}

void Conversation::remember(Point before) {
  current_->past.push_back(std::move(before));
  if (current_->past.size() > kMostPast) current_->past.pop_front();
}

// Where id 0 is an ordinary byte there is no such token.
void Conversation::begin_text(std::vector<Token>& tokens) const {
  if (!engine_.model().tokenizer().is_byte_level()) tokens.insert(tokens.begin(), kEndOfText);
}

std::vector<Token> Conversation::encode(std::string_view text) const {
  return engine_.model().tokenizer().encode(text);
}

}  // namespace anser
