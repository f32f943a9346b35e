#include "cli/conversation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "anser/error.h"
#include "base/answer_seed.h"
#include "cli/feed.h"
#include "cli/load_state.h"
#include "cli/story.h"
#include "text/prose.h"

namespace anser {
namespace {

// States that /undo may go back to, all branches having their own: some 16 turns of a large model,
// whose state takes 35 MB, are 0.5 GB.
constexpr size_t kMostPast = 16;

}  // namespace

Conversation::Conversation(Engine& engine, ConversationOptions options)
    : engine_(engine), options_(std::move(options)), current_(&branches_[name_]) {
  current_->now = engine_.model().initial_state();
}

Generated Conversation::answer(std::string_view user, const OnText& on_text) {
  const State before = current_->now;
  const ChatTemplate& form = options_.form;
  const bool first = before.tokens() == 0;
  const auto encode_turn = [&](const std::string& text) {
    return first && form.begin_token ? engine_.model().tokenizer().encode_document(text)
                                     : encode(text);
  };
  std::string prompt = first ? render_first_turn(form, user, options_.system, form.usual)
                             : render_later_turn(form, user, form.usual);
  if (!first) prompt.erase(0, separator_read(form, before.text_end()));
  // Works on a copy: should anything fail, the turn has not happened.
  State state = before;
  feed(engine_, state, encode_turn(prompt));
  const Generated answer = generate(engine_, state, next_generation(), on_text);

  if (const std::string& opening = form.opening(form.usual); !opening.empty()) {
    // The prompt has opened the thought that the answer goes on with.
    const std::string words = answer.text.empty() ? "" : answer_words(form, opening + answer.text);
    prompt.erase(prompt.size() - form.generation.size() - opening.size());
    state = before;
    feed(engine_, state, encode_turn(prompt + render_turn(form, {ChatRole::assistant, words})));
  }
  current_->now = std::move(state);
  remember(before);
  return answer;
}

Generated Conversation::write_on(std::string_view line, const OnText& on_text) {
  const State before = current_->now;
  const bool first = before.tokens() == 0;
  const std::string written = joined_line(line, first || before.text_end().ends_with('\n'));
  State state = before;
  feed(engine_, state,
       first ? engine_.model().tokenizer().encode_document(written) : encode(written));
  const Generated text = generate_sentences(engine_, state, next_generation(), written, on_text);

  current_->now =
      text.reason == StopReason::stop_token ? engine_.model().initial_state() : std::move(state);
  remember(before);
  return text;
}

GenerateOptions Conversation::next_generation() {
  GenerateOptions generation = options_.generation;
  // An answer that is asked for again may differ.
  generation.sampling.seed = answer_seed(generation.sampling.seed, turn_++);
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
  current_->now = engine_.model().initial_state();
}

void Conversation::save(const std::string& path) const {
  current_->now.save(path);
}

void Conversation::load(const std::string& path) {
  State loaded = load_state(engine_.model(), path);
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

void Conversation::remember(State before) {
  current_->past.push_back(std::move(before));
  if (current_->past.size() > kMostPast) current_->past.pop_front();
}

std::vector<Token> Conversation::encode(std::string_view text) const {
  return engine_.model().tokenizer().encode(text);
}

}  // namespace anser
