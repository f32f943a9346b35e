#include "server/openai/chat_prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/openai/tool_text.h"
#include "text/chat/builtin_templates.h"

namespace anser::openai {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";

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
  if (request.begins_anew) turns.pop_back();
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

// The words of the last message, to be gone on with.
Prefill prefill_of(const ChatRequest& request, const ChatTemplate& form) {
  const std::string& text = request.messages.back().text;
  Prefill prefill{.text = clean_words(form, text)};
  prefill.spaced = !text.empty() && kSpaces.find(text.back()) != std::string_view::npos;
  // As after a generation prompt, the model writes the end of a tag itself.
  const auto ends_with = [&](const std::string& mark) {
    return mark.ends_with('>') && prefill.text.ends_with(mark);
  };
  if (ends_with(form.think_start) || ends_with(form.think_end)) prefill.text.pop_back();
  return prefill;
}

// The last turn up to where it is gone on with.
std::string open_turn(ChatRole role, const ChatTemplate& form, Prefill& prefill) {
  // Its last character may be left to the model.
  const size_t mark = form.think_start.size();
  const bool thinks = mark > 0 && prefill.text.starts_with(form.think_start.substr(0, mark - 1));
  if (role != ChatRole::assistant || thinks || form.thinking_off.empty()) {
    return render_turn(form, {role, prefill.text});
  }
  // The model cannot begin with a thought any more.
  prefill.opening = form.thinking_off;
  return form.generation + form.thinking_off + prefill.text;
}

ChatPrompt render_story(const ChatRequest& request, bool goes_on) {
  // The words of all have no marks around them that they could hold.
  const ChatTemplate& form = builtin_template("chat");
  ChatPrompt prompt;
  for (const Message& message : request.messages) {
    const bool goes_on_here = request.continues && &message == &request.messages.back();
    if (goes_on_here) prompt.prefill = prefill_of(request, form);
    const std::string words = goes_on_here ? prompt.prefill.text : clean_words(form, message.text);
    if (words.empty()) continue;
    prompt.answer_begin = prompt.text.size();
    prompt.text += (prompt.text.empty() && !goes_on ? "" : " ") + words;
    prompt.message_ends.push_back(prompt.text.size());
  }
  if (!request.continues) prompt.answer_begin = prompt.text.size();
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
  std::vector<ChatTurn> closed = turns_of(request, form);
  if (request.continues) closed.pop_back();
  RenderedTurns turns = render_turns(form, closed, goes_on);
  ChatPrompt prompt{std::move(turns.text), std::move(turns.turn_ends), 0, {}};
  prompt.answer_begin = prompt.text.size();
  if (request.continues) {
    prompt.prefill = prefill_of(request, form);
    prompt.text += open_turn(request.messages.back().role, form, prompt.prefill);
    return prompt;
  }
  if (!request.opens_answer) return prompt;
  prompt.opening = opening_of(request, form, answer_at_once);
  prompt.text += form.generation + prompt.opening;
  return prompt;
}

std::string render_messages(const ChatRequest& request, const ChatTemplate& form, bool story,
                            bool goes_on) {
  ChatRequest closed = request;
  closed.continues = closed.begins_anew = false;
  const ChatPrompt prompt = render_chat(closed, form, story, goes_on);
  if (story) return prompt.text;
  return prompt.text.substr(0, prompt.answer_begin - form.separator.size());
}

}  // namespace anser::openai
