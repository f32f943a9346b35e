#include "server/orders.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "anser/constraint.h"
#include "anser/error.h"
#include "server/openai/chat_prompt.h"

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

std::optional<Order> order_without_thoughts(const Beginning& beginning, const ChatPrompt& prompt,
                                            const std::string& text, StopReason reason,
                                            const Tokenizer& tokenizer) {
  const std::string answer = prompt.opening + text;
  if (answer.find("<think>") == std::string::npos) return std::nullopt;
  const bool cut_off = answer.find("</think>") == std::string::npos;
  if (cut_off && reason == StopReason::length) return std::nullopt;
  std::string whole = prompt.text.substr(0, prompt.text.size() - prompt.opening.size());
  const std::string words = clean_role_text(drop_thoughts(answer));
  if (!words.empty()) whole += " " + words;
  Order order{beginning.state, tokenizer.encode(whole)};
  order.origin = beginning.origin;
  return order;
}

}  // namespace

std::shared_ptr<const Constraint> constraint_of(const WriteRequest& request, const Model& model) {
  const int vocab = model.hyperparameters().vocab;
  if (request.json_object) return Constraint::json_object(model.tokenizer(), vocab);
  if (!request.json_schema) return nullptr;
  try {
    return Constraint::json_schema(model.tokenizer(), vocab, request.json_schema->dump());
  } catch (const Error& error) {
    throw ApiError::bad_field(request.json_schema_path, error.what());
  }
}

void begin_text(const Model& model, std::vector<Token>& tokens) {
  if (!model.tokenizer().is_byte_level()) tokens.insert(tokens.begin(), kEndOfText);
}

ChatOrder chat_order(ChatRequest wanted, const Beginning& beginning, Template usual,
                     const Limits& limits, const Model& model) {
  const Tokenizer& tokenizer = model.tokenizer();
  GenerateOptions generation = wanted.generation;
  generation.constraint = constraint_of(wanted, model);
  // JSON is written at once: thoughts, or the fence of a call, would have no place in it.
  if (generation.constraint != nullptr) {
    wanted.effort = Effort::unsaid;
    wanted.tool_choice = {ToolChoice::Kind::none, {}};
    usual = Template::chat;
  }
  const bool story = model.tells_stories(), goes_on = beginning.state.tokens() > 0;
  const ChatPrompt prompt = render_chat(wanted, usual, story, goes_on);
  std::vector<Token> tokens = tokenizer.encode(prompt.text);
  if (story && !goes_on) begin_text(model, tokens);
  if (tokens.empty() && !beginning.state.has_logits()) {
    throw ApiError::bad_field("messages", "they have no words");
  }
  if (int64_t(tokens.size()) > limits.max_prompt_tokens) {
    throw ApiError::bad_field("messages", fmt::format("expected at most {} tokens, found {}",
                                                      limits.max_prompt_tokens, tokens.size()));
  }
  if (!story) {
    for (std::string& stop : default_stops(Template::chat)) {
      generation.stop.push_back(std::move(stop));
    }
  }
  Order order{beginning.state, std::move(tokens), std::move(generation), wanted.top_logprobs};
  order.origin = beginning.origin;
  order.checkpoints = checkpoints(tokenizer, order.prompt, prompt.message_ends);
  std::vector<Tool> tools;
  if (wanted.tool_choice.kind != ToolChoice::Kind::none) tools = std::move(wanted.tools);
  auto without_thoughts = [begun = beginning, prompt, tokenizer](const std::string& text,
                                                                 StopReason reason) {
    return order_without_thoughts(begun, prompt, text, reason, tokenizer);
  };
  return {std::move(order), prompt.opening, std::move(tools), std::move(without_thoughts)};
}

}  // namespace anser
