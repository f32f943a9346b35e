// A chat form: how a conversation is written for a model. It is data, and the functions below are
// the one way in which any form is rendered, built in (builtin_templates.h) or from a file of the
// user's (template_file.h). docs/templates.md describes the fields for users.
//
//   prefix  turn  separator  turn  separator  ...  generation prompt
//
// A turn never holds what ends it: the separator is read when the next turn begins. So a state that
// has read a conversation up to an answer's end goes on exactly as if it had never been saved.
//
// A generation prompt never ends in a space, nor in the `>` of a tag: the tokenizer takes the
// longest match, so the model learned those characters as the beginning of a longer token that it
// must write itself.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace anser {

enum class ChatRole { system, user, assistant, tool };

// What the generation prompt says of thinking: nothing, an empty thought, or a thought that it
// opens.
enum class Thinking { off, none, open };

// How tools are told to the model, and what calls look like.
//   lines     a line a tool in a system's turn; a call is a fence that the answer begins with
//   markdown  the whole conversation in the form `markdown`, with the tools' schemas
enum class ToolFormat { lines, markdown };

struct ChatTemplate {
  std::string name;

  bool begin_token = false;  // token 0 in front of a text, unless the vocabulary is plain bytes
  std::string prefix = {};   // in front of a text, behind token 0

  // The turns. Each ends in {text}, which stands for the role's words.
  std::string system, user, assistant, tool;
  std::string separator;

  std::string generation;  // the generation prompt: what an answer's turn begins with
  std::string thinking_off = {}, thinking_none = {}, thinking_open = {};  // what follows it
  Thinking usual = Thinking::off;  // where a request says nothing

  std::string think_start = {}, think_end = {};   // around a thought; empty: the form knows none
  std::string low_effort = {}, high_effort = {};  // behind the last user's words

  std::vector<std::string> stops;

  bool blank_lines = true;  // false: a run of newlines in a role's words becomes one
  // What a role's words may not hold, and what stands there instead: so that nobody can open a turn
  // of another role. A mark that begins with a newline counts at the words' beginning, too.
  std::vector<std::pair<std::string, std::string>> replace = {};

  ToolFormat tools = ToolFormat::lines;

  // What follows the generation prompt.
  const std::string& opening(Thinking thinking) const;

  bool operator==(const ChatTemplate&) const = default;
};

// `text` as a turn of this form may hold it: CRLF becomes LF, white space at both ends goes,
// blank_lines and replace are applied.
std::string clean_words(const ChatTemplate& form, std::string_view text);

// Without thoughts. Since a prompt may have opened the tag itself, an answer that begins in the
// midst of a thought loses everything up to the first end of one; a thought that was never finished
// goes up to the end.
std::string drop_thoughts(const ChatTemplate& form, std::string_view text);

// What history shows of an answer.
std::string answer_words(const ChatTemplate& form, std::string_view answer);

struct ChatTurn {
  ChatRole role;
  std::string words;  // clean
};

struct RenderedTurns {
  std::string text;
  // Bytes of `text` behind each turn's separator: where other conversations are likely to go on
  // differently.
  std::vector<size_t> turn_ends;
};

// With `goes_on` the text continues a state that has read a turn up to its end.
RenderedTurns render_turns(const ChatTemplate& form, std::span<const ChatTurn> turns, bool goes_on);

// A single turn, without its separator. An assistant's without words ends in no white space.
std::string render_turn(const ChatTemplate& form, const ChatTurn& turn);

// How many bytes of what ends a turn the end of a text has already: the answer may have written
// some of the separator before it stopped. `text_end`: the last bytes of what a state has read, see
// State::text_end. None behind what a turn begins with, whose end may look like the same, and none
// of a mark that has only begun: that may be words.
size_t separator_read(const ChatTemplate& form, std::string_view text_end);

// A user's words and what opens the answer. The first turn of a text has the system's in front, if
// there are any; a later one continues a state that has read everything up to the end of an answer.
std::string render_first_turn(const ChatTemplate& form, std::string_view user,
                              std::string_view system, Thinking thinking);
std::string render_later_turn(const ChatTemplate& form, std::string_view user, Thinking thinking);

}  // namespace anser
