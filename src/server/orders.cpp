#include "server/orders.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "anser/constraint.h"
#include "anser/error.h"
#include "server/openai/answer_stream.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/prompt_tokens.h"
#include "server/openai/tool_text.h"
#include "text/chat/builtin_templates.h"

namespace anser {

using namespace openai;

namespace {

// Which numbers of tokens make up the first `bytes` of the text, for states to be kept there: the
// last token that ends at or before each. The text's own tokens, for a prefix may be cut otherwise.
std::vector<size_t> checkpoints(const Tokenizer& tokenizer, std::span<const Token> tokens,
                                const std::vector<size_t>& bytes) {
  std::vector<size_t> found;
  size_t at = 0, next = 0;
  for (size_t i = 0; i < tokens.size() && next < bytes.size(); ++i) {
    const size_t end = at + tokenizer.bytes_of(tokens[i]).size();
    while (next < bytes.size() && bytes[next] < end) {
      if (i > 0) found.push_back(i);
      ++next;
    }
    at = end;
  }
  return found;
}

// A model of stories has no conversations: where there is a form to be had, it is that of `chat`.
ChatTemplate form_of(const ChatRequest& request, const ChatTemplate& form, const Model& model) {
  return model.tells_stories() ? builtin_template("chat") : form_for(form, request);
}

std::vector<Token> encode_chat(const Model& model, const ChatTemplate& form,
                               const std::string& text, bool goes_on, int64_t most,
                               const char* field = "messages") {
  const bool begins = (model.tells_stories() || form.begin_token) && !goes_on;
  return encode_at_most(model.tokenizer(), text, begins, most, field);
}

// Of a request's messages, behind `begin`: something to go on from.
std::vector<Token> encode_messages(const ChatRequest& request, const ChatTemplate& form,
                                   const std::string& text, const State& begin,
                                   const Limits& limits, const Model& model) {
  std::vector<Token> tokens = encode_chat(model, form, text, begin.tokens() > 0,
                                          limits.max_prompt_tokens, request.messages_field);
  if (tokens.empty() && !begin.has_logits()) {
    throw ApiError::bad_field(request.messages_field, "they have no words");
  }
  return tokens;
}

// Leaves out as few of the oldest messages as makes `fits` true; those of the system stay, and so
// does the last one. Where that is not enough, nothing is left out.
void drop_oldest_messages(ChatRequest& wanted,
                          const std::function<bool(const ChatRequest&)>& fits) {
  if (fits(wanted)) return;
  const auto without_oldest = [&wanted](size_t count) {
    ChatRequest rest = wanted;
    rest.messages.clear();
    for (size_t i = 0; i < wanted.messages.size(); ++i) {
      const bool stays =
          wanted.messages[i].role == ChatRole::system || i + 1 == wanted.messages.size();
      if (stays || count == 0) {
        rest.messages.push_back(wanted.messages[i]);
      } else {
        --count;
      }
    }
    return rest;
  };
  // Fewer messages are never longer: the number is found by halves.
  size_t too_few = 0, enough = wanted.messages.size();
  if (!fits(without_oldest(enough))) return;
  while (enough - too_few > 1) {
    const size_t middle = too_few + (enough - too_few) / 2;
    (fits(without_oldest(middle)) ? enough : too_few) = middle;
  }
  wanted = without_oldest(enough);
}

// The answer that a state ends with may have written some of what ends its turn.
void drop_separator_read(ChatPrompt& prompt, const ChatTemplate& form, const State& state) {
  const size_t read = separator_read(form, state.text_end());
  prompt.text.erase(0, read);
  prompt.answer_begin -= read;
  for (size_t& end : prompt.message_ends) end -= read;
}

// How the next prompt would show the answer. Nothing where that is what has been written: without
// thoughts and calls, or in the midst of a thought.
std::optional<std::string> words_as_shown(const ChatTemplate& form, const std::string& opening,
                                          const Prefill& prefill, const std::string& text,
                                          StopReason reason, const std::vector<Tool>& tools,
                                          bool several_calls, bool story) {
  // Nothing was written. What the prompt has opened may go on if there was no room for more.
  if (text.empty() && !opening.empty()) {
    return reason == StopReason::length ? std::nullopt : std::optional<std::string>("");
  }
  // What the client has written of it is part of the answer.
  if (!prefill.text.empty()) {
    return words_as_shown(form, prefill.opening, {}, prefill.text + text, reason, tools,
                          several_calls, story);
  }
  AnswerStream stream(form, opening, tools, several_calls);
  std::vector<AnswerStream::Part> parts = stream.push(text);
  for (auto& part : stream.finish()) parts.push_back(std::move(part));
  std::string content;
  std::vector<ToolCall> calls;
  for (auto& part : parts) {
    if (part.kind == AnswerStream::Part::Kind::content) content += part.text;
    if (part.kind == AnswerStream::Part::Kind::call) calls.push_back({"", part.name, part.text});
  }
  if (!calls.empty()) return story ? "" : assistant_words(form, content, calls);
  const std::string answer = opening + text;
  if (form.think_start.empty() || answer.find(form.think_start) == std::string::npos) {
    return std::nullopt;
  }
  const bool cut_off = answer.find(form.think_end) == std::string::npos;
  if (cut_off && reason == StopReason::length) return std::nullopt;
  return answer_words(form, answer);
}

}  // namespace

std::string schema_field(const ChatRequest& request) {
  if (!request.tool_choice.obliges()) return request.json_schema_path;
  const auto is_named = [&](const Tool& tool) { return tool.name == request.tool_choice.name; };
  const auto named = std::ranges::find_if(request.tools, is_named);
  if (named != request.tools.end()) return named->path;
  return request.calls == CallForm::old ? "functions" : "tools";
}

std::shared_ptr<const Constraint> constraint_of(const WriteRequest& request, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  if (request.json_object) return Constraint::json_object(model.tokenizer(), vocab);
  if (!request.json_schema) return nullptr;
  try {
    return Constraint::json_schema(model.tokenizer(), vocab, request.json_schema->dump(),
                                   request.schema_is_strict);
  } catch (const Error& error) {
    throw ApiError::bad_field(request.json_schema_path, error.what());
  }
}

void check_stop_tokens(const GenerateOptions& generation) {
  if (generation.constraint == nullptr) return;
  for (const Token token : generation.stop_tokens) {
    if (!generation.constraint->needs(token)) continue;
    throw ApiError::bad_field(
        "stop_token_ids",
        fmt::format("token {} is a character that the format of the answer needs, so it cannot end "
                    "one",
                    token));
  }
}

std::shared_ptr<const Constraint> call_constraint(const ChatRequest& request, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  std::vector<Constraint::Function> functions;
  std::vector<std::string> paths;
  for (const Tool& tool : request.tools) {
    const ToolChoice& choice = request.tool_choice;
    if (choice.kind == ToolChoice::Kind::named && tool.name != choice.name) continue;
    functions.push_back(
        {tool.name, tool.parameters.is_null() ? "" : tool.parameters.dump(), tool.strict});
    paths.push_back(tool.path);
  }
  try {
    return Constraint::json_call(model.tokenizer(), vocab, functions);
  } catch (const Constraint::FunctionError& error) {
    throw ApiError::bad_field(paths[error.index], error.what());
  } catch (const Error& error) {
    throw ApiError::bad_field(schema_field(request), error.what());
  }
}

std::vector<Token> message_tokens(const ChatRequest& request, const ChatTemplate& usual_form,
                                  const State& begin, const Limits& limits, const Model& model) {
  const ChatTemplate form = form_of(request, usual_form, model);
  const bool story = model.tells_stories(), goes_on = begin.tokens() > 0;
  std::string text = render_messages(request, form, story, goes_on);
  if (goes_on && !story) text.erase(0, separator_read(form, begin.text_end()));
  return encode_messages(request, form, text, begin, limits, model);
}

std::vector<Token> chat_tokens(const ChatRequest& request, const ChatTemplate& usual_form,
                               bool begins, int64_t most, const Model& model) {
  ChatTemplate form = form_of(request, usual_form, model);
  form.begin_token = form.begin_token || begins;
  const bool at_once = request.json_object || request.json_schema;
  const ChatPrompt prompt = render_chat(request, form, model.tells_stories(), false, at_once);
  return encode_chat(model, form, prompt.text, false, most);
}

ChatOrder chat_order(ChatRequest wanted, const Beginning& beginning, const ChatTemplate& usual_form,
                     const Limits& limits, const Model& model) {
  const Tokenizer& tokenizer = model.tokenizer();
  const bool must_call = wanted.tool_choice.obliges();
  GenerateOptions generation = wanted.generation;
  if (must_call) {
    // The call is the whole answer: no thoughts before it, no stop within it, no other format.
    generation.constraint = call_constraint(wanted, model);
    generation.stop.clear();
    generation.stop_after.clear();
    generation.stop_tokens.clear();
    wanted.effort = Effort::unsaid;
  } else if ((generation.constraint = constraint_of(wanted, model)) != nullptr) {
    // JSON is written at once: thoughts, or the fence of a call, would have no place in it.
    wanted.effort = Effort::unsaid;
    wanted.tool_choice = {ToolChoice::Kind::none, {}};
  }
  check_stop_tokens(generation);
  const bool story = model.tells_stories(), goes_on = beginning.state.tokens() > 0;
  const bool at_once = generation.constraint != nullptr;
  ChatTemplate form = form_of(wanted, usual_form, model);
  if (wanted.drop_oldest) {
    const size_t most = size_t(limits.max_prompt_tokens) - 1;  // one may be that of the beginning
    drop_oldest_messages(wanted, [&](const ChatRequest& shorter) {
      const std::string text = render_chat(shorter, form, story, goes_on, at_once).text;
      return tokenizer.count(text, most) <= most;
    });
  }
  ChatPrompt prompt = render_chat(wanted, form, story, goes_on, at_once);
  if (goes_on && !story) drop_separator_read(prompt, form, beginning.state);
  std::vector<Token> tokens =
      encode_messages(wanted, form, prompt.text, beginning.state, limits, model);
  // The marks that end a turn are to a chat what the end of a text is to a completion.
  if (!story && !must_call && !generation.ignore_eos) {
    generation.stop.insert(generation.stop.end(), form.stops.begin(), form.stops.end());
  }
  Order order{beginning.state, std::move(tokens), std::move(generation), wanted.top_logprobs};
  order.origin = beginning.origin;
  order.client = beginning.client;
  order.checkpoints = checkpoints(tokenizer, order.prompt, prompt.message_ends);
  std::vector<Tool> tools;
  if (wanted.tool_choice.kind != ToolChoice::Kind::none) {
    // Calls are known by the names. Each text keeps them, and schemas take many times their bytes.
    for (Tool& tool : wanted.tools) {
      order.kept_bytes += tool.name.size();
      tools.push_back({std::move(tool.name), {}, {}});
    }
  }
  // A story's prompt opens nothing, but what is written is read as if it had.
  const bool story_call = story && must_call;
  std::string opening = story_call ? std::string(call_opening(ToolFormat::lines)) : prompt.opening;
  const size_t shown_bytes = prompt.text.size();
  const bool several_calls = wanted.calls == CallForm::several;
  // Where no answer was begun, what is written is all that there is.
  const bool answers =
      wanted.continues ? wanted.messages.back().role == ChatRole::assistant : wanted.opens_answer;
  auto as_shown = [&model, begun = beginning, goes_on, tools, several_calls, form, opening, story,
                   answers, prefill = prompt.prefill,
                   before = prompt.text.substr(0, prompt.answer_begin)](
                      const std::string& text, StopReason reason) -> std::optional<Order> {
    if (!answers) return std::nullopt;
    const auto words =
        words_as_shown(form, opening, prefill, text, reason, tools, several_calls, story);
    if (!words) return std::nullopt;
    std::string whole = before;
    if (!story) {
      whole += render_turn(form, {ChatRole::assistant, *words});
    } else if (!words->empty()) {
      whole += " " + *words;
    }
    constexpr int64_t kNoLimit =
        std::numeric_limits<int64_t>::max();  // the text is written already
    Order again{begun.state, encode_chat(model, form, whole, goes_on, kNoLimit)};
    again.origin = begun.origin;
    again.client = begun.client;
    return again;
  };
  return {std::move(order), std::move(form),     std::move(opening), std::move(prompt.prefill),
          std::move(tools), std::move(as_shown), shown_bytes};
}

}  // namespace anser
