// The prompt formats of RWKV-7 G1 models.
//
//   raw         the text as it is
//   chat        User: {text}\n\nAssistant:
//   think       ... Assistant: <think          the model closes the tag and thinks
//   fake_think  ... Assistant: <think>\n</think    an empty thought: answers at once, and better
//   fim         fill in the middle: the prompt is what comes before the gap, the suffix what
//   follows
//
// A prompt never ends in a space, nor in the `>` of a tag: the tokenizer takes the longest match,
// so the model learned those characters as the beginning of a longer token which it must write
// itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace anser {

enum class Template { raw, chat, think, fake_think, fim };

// "raw", "chat", "think", "fake-think", "fim". template_from_name throws Error for another name.
Template template_from_name(std::string_view name);
const char* template_name(Template format);

// A past exchange.
struct Turn {
  std::string user;
  std::string assistant;  // as generated; thoughts are left out when it is shown to the model again
};

struct Prompt {
  std::string text = {};           // the user's words; for fim what comes before the gap
  std::vector<Turn> history = {};  // chat formats only
  std::string system = {};         // chat formats only
  std::string suffix = {};         // fim only
};

// The whole text to feed to a fresh state. Throws Error when `prompt` has a part which the format
// has no place for.
std::string render_prompt(Template format, const Prompt& prompt);

// For a chat that keeps its state: the first turn as above, and a later turn as the text that
// continues a state which has read everything up to the end of the assistant's answer. Chat formats
// only; raw and fim have no turns and throw Error.
std::string render_first_turn(Template format, std::string_view user, std::string_view system);
std::string render_later_turn(Template format, std::string_view user);

// What ends an answer, besides the end-of-text token. (U+273F for fim, a new role for the chats.)
std::vector<std::string> default_stops(Template format);

// How the training data treats the words of a role: CRLF becomes LF, a run of newlines becomes one
// (two would end the turn), and white space at both ends goes.
std::string clean_role_text(std::string_view text);

// Without `<think>...</think>`. Since a prompt may have opened the tag itself, an answer that
// begins in the middle of a thought loses everything up to the first `</think>`; a thought that was
// never finished goes up to the end.
std::string drop_thoughts(std::string_view text);

}  // namespace anser
