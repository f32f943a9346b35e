#include "server/tokenizing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "server/openai/chat_request.h"
#include "server/openai/json_pieces.h"
#include "server/openai/prompt_tokens.h"
#include "server/orders.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/jinja_template.h"

namespace anser::openai {
namespace {

// As many tokens as a body has values at most, and as many bytes as a body has, so that what one
// gives out the other takes.
constexpr int64_t kMostTokenized = int64_t(kBodyLimits.values);
constexpr size_t kMostDetokenized = 16 << 20;

constexpr char kEndOfText[] = "<|rwkv_tokenizer_end_of_text|>";

// The token that has this name, if one does.
std::optional<Token> named(const Tokenizer& tokenizer, const std::string& name) {
  std::vector<Token> nameless = tokenizer.eos();
  if (tokenizer.bos()) nameless.push_back(*tokenizer.bos());
  for (const AddedToken& token : tokenizer.added()) {
    if (token.control) nameless.push_back(token.id);
  }
  for (const Token token : nameless) {
    if (tokenizer.bytes_of(token).empty() && name_of(tokenizer, token) == name) return token;
  }
  return std::nullopt;
}

std::vector<Token> prompt_tokens(const Fields& body, const Tokenizer& tokenizer) {
  const std::string prompt = body.required_text("prompt");
  const bool begins = body.boolean("add_special_tokens").value_or(true);
  const std::optional<Token> name = named(tokenizer, prompt);
  if (!name) return encode_at_most(tokenizer, prompt, begins, kMostTokenized, "prompt");
  std::vector<Token> tokens;
  if (begins && tokenizer.bos()) tokens.push_back(*tokenizer.bos());
  tokens.push_back(*name);
  return tokens;
}

// "token_strs" with a comma in front: what each token stands for, or is called.
std::string strings_text(const Tokenizer& tokenizer, const std::vector<Token>& tokens) {
  std::string text = ",\"token_strs\":[";
  for (const Token token : tokens) {
    if (text.back() != '[') text += ',';
    const std::string_view bytes = tokenizer.bytes_of(token);
    text += dumped(bytes.empty() ? name_of(tokenizer, token) : std::string(bytes));
  }
  return text + "]";
}

// Where the model's text begins with it, or ends.
Json name_or_null(const Tokenizer& tokenizer, std::optional<Token> token) {
  if (!token) return nullptr;
  const std::string_view bytes = tokenizer.bytes_of(*token);
  const std::string name = bytes.empty() ? name_of(tokenizer, *token) : std::string(bytes);
  return name.empty() ? Json() : Json(name);
}

}  // namespace

std::string name_of(const Tokenizer& tokenizer, Token token) {
  for (const AddedToken& added : tokenizer.added()) {
    if (added.id == token) return added.text;
  }
  const bool ends = std::ranges::find(tokenizer.eos(), token) != tokenizer.eos().end();
  return (ends || tokenizer.bos() == token) && tokenizer.bytes_of(token).empty() ? kEndOfText : "";
}

std::string tokenized(const Model& model, const ChatTemplate& form, const Limits& limits,
                      const Json& json) {
  const Fields body(json);
  const Tokenizer& tokenizer = model.tokenizer();
  const auto has = [&](const char* name) { return body.any(name) != nullptr; };
  if (has("content") + has("prompt") + has("messages") > 1) {
    body.fail(has("messages") ? "messages" : "prompt",
              "expected one of content, prompt and messages, found more");
  }
  if (!has("prompt") && !has("messages")) {
    const std::string text = body.required_text("content");
    const auto tokens = encode_at_most(tokenizer, text, false, kMostTokenized, "content");
    return fmt::format("{{\"tokens\":[{}]}}", fmt::join(tokens, ","));
  }
  std::vector<Token> tokens;
  if (has("messages")) {
    const bool begins = body.boolean("add_special_tokens").value_or(false);
    tokens = chat_tokens(read_chat_request(body, limits), form, begins, kMostTokenized, model);
  } else {
    tokens = prompt_tokens(body, tokenizer);
  }
  const bool strings = body.boolean("return_token_strs").value_or(false);
  return fmt::format("{{\"count\":{},\"max_model_len\":{},\"tokens\":[{}]{}}}", tokens.size(),
                     limits.max_prompt_tokens, fmt::join(tokens, ","),
                     strings ? strings_text(tokenizer, tokens) : ",\"token_strs\":null");
}

Json detokenized(const Tokenizer& tokenizer, const Limits& limits, const Json& json) {
  const Json* list = Fields(json).array("tokens");
  if (list == nullptr) throw ApiError::bad_field("tokens", "it is missing; expected a list");
  const auto tokens = read_tokens(*list, limits.vocab, kMostTokenized, "tokens");
  size_t bytes = 0;
  for (const Token token : tokens) bytes += tokenizer.bytes_of(token).size();
  if (bytes > kMostDetokenized) {
    throw ApiError::bad_field("tokens", fmt::format("expected a text of at most {} bytes, found {}",
                                                    kMostDetokenized, bytes));
  }
  const std::string text = tokenizer.decode(tokens);
  return {{"content", text}, {"prompt", text}};
}

Json tokenizer_info(const Model& model, const ChatTemplate& form, const Limits& limits) {
  const Tokenizer& tokenizer = model.tokenizer();
  const auto& eos = tokenizer.eos();
  const Json end = name_or_null(tokenizer, eos.empty() ? std::nullopt : std::optional(eos[0]));
  const ChatTemplate* const known = find_builtin_template(form.name);
  const bool has_jinja = !model.tells_stories() && known != nullptr && *known == form;
  return {{"tokenizer_class", "RwkvTokenizer"},
          {"add_bos_token", tokenizer.bos().has_value()},
          {"bos_token", name_or_null(tokenizer, tokenizer.bos())},
          {"eos_token", end},
          {"pad_token", end},
          {"vocab_size", limits.vocab},
          {"model_max_length", limits.max_prompt_tokens},
          {"chat_template", has_jinja ? Json(jinja_template(form)) : Json()}};
}

}  // namespace anser::openai
