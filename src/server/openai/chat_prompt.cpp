#include "server/openai/chat_prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/openai/tool_text.h"
#include "text/chat/builtin_templates.h"

namespace anser::openai {
namespace {

bool tells_tools(const ChatRequest& request) {
  return request.tool_choice.kind != ToolChoice::Kind::none;
}

std::string words_of(const ChatTemplate& form, const Message& message) {
  if (message.role == ChatRole::tool) return output_text(form, message.text);
  if (message.role == ChatRole::assistant) {
    return assistant_words(form, message.text, message.calls);
  }
  return clean_words(form, message.text);
}

const std::string& effort_mark(const ChatTemplate& form, Effort effort) {
  static const std::string nothing;
  if (effort == Effort::low) return form.low_effort;
  if (effort == Effort::high) return form.high_effort;
  return nothing;
}

Thinking thinking_of(const ChatTemplate& form, Effort effort) {
  if (effort == Effort::unsaid) return form.usual;
  return effort == Effort::none ? Thinking::none : Thinking::open;
}

std::string opening_of(const ChatRequest& request, const ChatTemplate& form, bool answer_at_once) {
  if (request.tool_choice.obliges()) {
    return form.thinking_off + std::string(call_opening(form.tools));
  }
  return form.opening(answer_at_once ? Thinking::off : thinking_of(form, request.effort));
}

std::vector<ChatTurn> turns_of(const ChatRequest& request, const ChatTemplate& form) {
  std::vector<ChatTurn> turns;
  for (const Message& message : request.messages) {
    turns.push_back({message.role, words_of(form, message)});
  }
  if (turns.back().role == ChatRole::user) turns.back().words += effort_mark(form, request.effort);
  if (!tells_tools(request)) return turns;
  ChatTurn told{ChatRole::system, tools_text(form, request)};
  if (form.tools == ToolFormat::markdown) {
    // One system's turn: the rules first.
    const auto other = [](const ChatTurn& turn) { return turn.role != ChatRole::system; };
    const auto end = std::ranges::find_if(turns, other);
    std::string rules;
    for (auto turn = turns.begin(); turn != end; ++turn) {
      if (!turn->words.empty()) rules += turn->words + "\n";
    }
    told.words.insert(0, rules);
    turns.erase(turns.begin(), end);
  }
  turns.insert(turns.begin(), std::move(told));
  return turns;
}

ChatPrompt render_story(const ChatRequest& request, bool goes_on) {
  // The words of all have no marks around them that they could hold.
  const ChatTemplate& form = builtin_template("chat");
  ChatPrompt prompt;
  for (const Message& message : request.messages) {
    const std::string words = clean_words(form, message.text);
    if (words.empty()) continue;
    prompt.text += (prompt.text.empty() && !goes_on ? "" : " ") + words;
    prompt.message_ends.push_back(prompt.text.size());
  }
  prompt.answer_begin = prompt.text.size();
  return prompt;
}

}  // namespace

ChatTemplate form_for(const ChatTemplate& form, const ChatRequest& request) {
  const auto has_tools = [](const Message& message) {
    return message.role == ChatRole::tool || !message.calls.empty();
  };
  const bool tools = tells_tools(request) || std::ranges::any_of(request.messages, has_tools);
  return tools ? template_with_tools(form) : form;
}

std::string assistant_words(const ChatTemplate& form, std::string_view text,
                            const std::vector<ToolCall>& calls) {
  std::string words = answer_words(form, text);
  for (const ToolCall& call : calls) {
    words += (words.empty() ? "" : "\n") + call_text(form, call);
  }
  return words;
}

ChatPrompt render_chat(const ChatRequest& request, const ChatTemplate& form, bool story,
                       bool goes_on, bool answer_at_once) {
  if (story) return render_story(request, goes_on);
  RenderedTurns turns = render_turns(form, turns_of(request, form), goes_on);
  ChatPrompt prompt{std::move(turns.text), std::move(turns.turn_ends), 0, {}};
  prompt.answer_begin = prompt.text.size();
  prompt.opening = opening_of(request, form, answer_at_once);
  prompt.text += form.generation + prompt.opening;
  return prompt;
}

std::string render_messages(const ChatRequest& request, const ChatTemplate& form, bool story,
                            bool goes_on) {
  const ChatPrompt prompt = render_chat(request, form, story, goes_on);
  if (story) return prompt.text;
  return prompt.text.substr(0, prompt.answer_begin - form.separator.size());
}

}  // namespace anser::openai
