// A conversation, or a story that two write: turns on top of a State, with everything that a copy
// of a state makes easy.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "anser/engine.h"
#include "anser/generate.h"
#include "text/chat/builtin_templates.h"

namespace anser {

struct ConversationOptions {
  ChatTemplate form = builtin_template("chat");  // of no matter to write_on()
  std::string system;
  GenerateOptions generation;
};

class Conversation {
 public:
  // The engine must outlive the conversation.
  Conversation(Engine& engine, ConversationOptions options);

  // Feeds the user's words, generates the answer, and leaves the state at the answer's end;
  // thoughts are then taken out of what the state has read, as models of this kind are trained.
  // When it throws Error the state is as before.
  Generated answer(std::string_view user, const OnText& on_text);

  // Writes `line` into the text, which begins as in training, after an end-of-text token; then the
  // text goes on from there to the end of a sentence. An empty line just lets it go on. With a text
  // that has come to its end (StopReason::stop_token) this branch is done: the next turn begins a
  // new one, and /undo goes back. When it throws Error the state is as before.
  Generated write_on(std::string_view line, const OnText& on_text);

  // One turn back; false when there is none, or it was too long ago.
  bool undo();
  // To the beginning of this branch.
  void reset();

  void save(const std::string& path) const;
  void load(const std::string& path);  // a state of this model; /undo goes back to what was before

  // A branch is a conversation of its own. fork() makes one that begins here and goes on with it.
  // Both throw Error when the name is taken, or unknown.
  void fork(const std::string& name);
  void switch_to(const std::string& name);
  const std::string& branch() const { return name_; }
  const State& state() const { return current_->now; }
  std::vector<std::string> branches() const;

 private:
  struct Branch {
    State now;
    std::deque<State> past;  // before each turn, the last one at the back
  };
  GenerateOptions next_generation();
  void remember(State before);
  std::vector<Token> encode(std::string_view text) const;

  Engine& engine_;
  const ConversationOptions options_;
  std::string name_ = "main";
  std::map<std::string, Branch> branches_;
  Branch* current_;  // branches_[name_]
  uint64_t turn_ = 0;
};

}  // namespace anser
