#include "server/openai/choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/openai/answer_stream.h"
#include "server/openai/logprob_object.h"

namespace anser::openai {
namespace {

// The four lists of a completion's logprobs, an entry at a time.
Json token_entry(const TokenDetails& token, const Tokenizer& tokenizer) {
  return text_of(tokenizer, token.drawn.token);
}
// Nothing came before a text's first token.
bool is_known(const TokenDetails& token) {
  return !std::isnan(token.drawn.logprob);
}
Json logprob_entry(const TokenDetails& token) {
  return is_known(token) ? Json(token.drawn.logprob) : Json();
}
Json top_entry(const TokenDetails& token, const ChoiceTokens& tokens) {
  Json best = is_known(token) ? Json::object() : Json();
  for (const TokenLogprob& other : tokens.top_of(token)) {
    best[text_of(tokens.tokenizer(), other.token)] = other.logprob;
  }
  return best;
}
// In characters, that begin in this token; `offset` is moved on.
size_t offset_entry(const TokenDetails& token, const Tokenizer& tokenizer, size_t& offset) {
  const std::string text = text_of(tokenizer, token.drawn.token);
  const auto begins = [](char c) { return (c & 0xc0) != 0x80; };
  return std::exchange(offset, offset + size_t(std::ranges::count_if(text, begins)));
}

class CompletionChoice final : public Choice {
 public:
  CompletionChoice(int index, std::shared_ptr<PromptShown> prompt, bool describes,
                   TokensShown tokens)
      : index_(index), prompt_(prompt), tokens_(std::move(prompt), describes, std::move(tokens)) {}

  std::vector<Json> chunks(std::string_view piece,
                           const std::vector<TokenDetails>& details) override {
    const std::string text = echo_once() + std::string(piece);
    const ChoiceTokens::Some some = tokens_.take(details);
    if (text.empty() && some.empty()) return {};
    return {chunk(text, some, nullptr)};
  }

  std::vector<Json> last_chunks(StopReason reason) override {
    return {chunk(echo_once(), {}, finish_reason(reason))};
  }

  void keep(std::string_view piece, const std::vector<TokenDetails>& details) override {
    text_ += piece;
    tokens_.keep(details);
  }

  JsonPieces whole(StopReason reason) override {
    JsonPieces pieces("{\"text\":");
    pieces.add_later([this] { return dumped(echoes() ? prompt_->text + text_ : text_); });
    pieces.add(fmt::format(",\"index\":{},\"logprobs\":", index_));
    if (tokens_.has_logprobs()) {
      add_lists(pieces);
    } else {
      pieces.add("null");
    }
    add_prompt_fields(prompt_, tokens_.tokenizer(), pieces);
    tokens_.add_ids(pieces);
    pieces.add(fmt::format(",\"finish_reason\":\"{}\"", finish_reason(reason)));
    return pieces;
  }

 private:
  bool echoes() const { return prompt_ != nullptr && prompt_->echoed; }
  std::string echo_once() {
    return !echoes() || std::exchange(echo_begun_, true) ? "" : prompt_->text;
  }

  Json chunk(const std::string& text, const ChoiceTokens::Some& some, const char* reason) {
    Json chunk = {{"text", text},
                  {"index", index_},
                  {"logprobs", tokens_.has_logprobs() ? lists(some) : Json()},
                  {"finish_reason", reason == nullptr ? Json() : Json(reason)}};
    tokens_.add_fields(chunk, some);
    return chunk;
  }

  Json lists(const ChoiceTokens::Some& some) {
    std::vector<TokenDetails> details = some.echoed;
    details.insert(details.end(), some.written.begin(), some.written.end());
    const Tokenizer& tokenizer = tokens_.tokenizer();
    Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(),
         offsets = Json::array();
    for (const TokenDetails& token : details) {
      tokens.push_back(token_entry(token, tokenizer));
      logprobs.push_back(logprob_entry(token));
      top.push_back(top_entry(token, tokens_));
      offsets.push_back(offset_entry(token, tokenizer, offset_));
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(logprobs)},
            {"top_logprobs", std::move(top)},
            {"text_offset", std::move(offsets)}};
  }

  // The same of all tokens that are kept.
  void add_lists(JsonPieces& pieces) const {
    const auto add = [&, count = tokens_.listed()](const char* name, auto&& entry) {
      pieces.add(name);
      pieces.add_list(count, [this, entry](size_t i, std::string& to) mutable {
        to += dumped(entry(tokens_.listed(i)));
      });
    };
    const Tokenizer& tokenizer = tokens_.tokenizer();
    add("{\"tokens\":", [&tokenizer](const TokenDetails& t) { return token_entry(t, tokenizer); });
    add(",\"token_logprobs\":", [](const TokenDetails& t) { return logprob_entry(t); });
    add(",\"top_logprobs\":", [this](const TokenDetails& t) { return top_entry(t, tokens_); });
    add(",\"text_offset\":", [&tokenizer, offset = size_t{0}](const TokenDetails& t) mutable {
      return Json(offset_entry(t, tokenizer, offset));
    });
    pieces.add("}");
  }

  const int index_;
  const std::shared_ptr<PromptShown> prompt_;
  ChoiceTokens tokens_;
  // Of a stream.
  bool echo_begun_ = false;
  size_t offset_ = 0;
  // Of an answer that is kept.
  std::string text_;
};

class ChatChoice final : public Choice {
 public:
  ChatChoice(int index, const ChatTemplate& form, const std::string& opening,
             const Prefill& prefill, std::vector<Tool> tools, std::shared_ptr<PromptShown> prompt,
             TokensShown tokens, CallForm calls)
      : index_(index),
        tools_(std::move(tools)),
        stream_(form, opening, tools_, calls == CallForm::several),
        old_form_(calls == CallForm::old),
        tokens_(std::move(prompt), true, std::move(tokens)) {
    stream_.prefill(prefill);
  }

  std::vector<Json> chunks(std::string_view piece,
                           const std::vector<TokenDetails>& details) override {
    std::vector<Json> chunks;
    if (!std::exchange(begun_, true)) {
      chunks.push_back(chunk({{"role", "assistant"}, {"content", ""}}, nullptr));
    }
    const ChoiceTokens::Some some = tokens_.take(details);
    for (Json& delta : deltas(stream_.push(piece)))
      chunks.push_back(chunk(std::move(delta), nullptr));
    // Words may still be held back; their tokens' details come nonetheless.
    if (chunks.empty() && !some.empty()) chunks.push_back(chunk(Json::object(), nullptr));
    if (chunks.empty()) return chunks;
    if (tokens_.has_logprobs() && !some.written.empty()) {
      chunks.back()["logprobs"] = {{"content", list(some.written)}};
    }
    tokens_.add_fields(chunks.back(), some);
    return chunks;
  }

  std::vector<Json> last_chunks(StopReason reason) override {
    std::vector<Json> chunks = this->chunks({}, {});
    for (Json& delta : deltas(stream_.finish())) chunks.push_back(chunk(std::move(delta), nullptr));
    chunks.push_back(chunk(Json::object(), reason_of(reason)));
    return chunks;
  }

  void keep(std::string_view piece, const std::vector<TokenDetails>& details) override {
    keep(stream_.push(piece));
    tokens_.keep(details);
  }

  JsonPieces whole(StopReason reason) override {
    keep(stream_.finish());
    Json message = {{"role", "assistant"},
                    {"content", content_.empty() && !calls_.empty() ? Json() : Json(content_)}};
    if (!reasoning_.empty()) message["reasoning_content"] = reasoning_;
    if (!calls_.empty() && old_form_) message["function_call"] = calls_[0]["function"];
    if (!calls_.empty() && !old_form_) message["tool_calls"] = calls_;
    JsonPieces pieces(
        fmt::format("{{\"index\":{},\"message\":{},\"logprobs\":", index_, dumped(message)));
    if (tokens_.has_logprobs()) {
      pieces.add("{\"content\":");
      pieces.add_list(tokens_.listed(), [this](size_t i, std::string& to) {
        to += dumped(entry_of(tokens_.listed(i)));
      });
      pieces.add("}");
    } else {
      pieces.add("null");
    }
    tokens_.add_ids(pieces);
    pieces.add(fmt::format(",\"finish_reason\":\"{}\"", reason_of(reason)));
    return pieces;
  }

 private:
  Json chunk(Json delta, const char* reason) const {
    return {{"index", index_},
            {"delta", std::move(delta)},
            {"logprobs", nullptr},
            {"finish_reason", reason == nullptr ? Json() : Json(reason)}};
  }

  Json call_of(const AnswerStream::Part& part) const {
    return {{"id", new_id("call_")},
            {"type", "function"},
            {"function", {{"name", part.name}, {"arguments", part.text}}}};
  }

  void keep(const std::vector<AnswerStream::Part>& parts) {
    for (const auto& part : parts) {
      switch (part.kind) {
        case AnswerStream::Part::Kind::reasoning:
          reasoning_ += part.text;
          break;
        case AnswerStream::Part::Kind::content:
          content_ += part.text;
          break;
        case AnswerStream::Part::Kind::call:
          calls_.push_back(call_of(part));
          ++calls_made_;
          break;
      }
    }
  }

  std::vector<Json> deltas(const std::vector<AnswerStream::Part>& parts) {
    std::vector<Json> deltas;
    for (const auto& part : parts) {
      switch (part.kind) {
        case AnswerStream::Part::Kind::reasoning:
          deltas.push_back({{"reasoning_content", part.text}});
          break;
        case AnswerStream::Part::Kind::content:
          deltas.push_back({{"content", part.text}});
          break;
        case AnswerStream::Part::Kind::call: {
          Json call = call_of(part);
          call["index"] = calls_made_++;
          if (old_form_) {
            deltas.push_back({{"function_call", std::move(call["function"])}});
          } else {
            deltas.push_back({{"tool_calls", Json::array({std::move(call)})}});
          }
          break;
        }
      }
    }
    return deltas;
  }

  const char* reason_of(StopReason reason) const {
    if (calls_made_ == 0) return finish_reason(reason);
    return old_form_ ? "function_call" : "tool_calls";
  }

  Json entry_of(const TokenDetails& token) const {
    return logprob_object({token.drawn, tokens_.top_of(token)}, tokens_.tokenizer());
  }
  Json list(const std::vector<TokenDetails>& details) const {
    Json entries = Json::array();
    for (const TokenDetails& token : details) entries.push_back(entry_of(token));
    return entries;
  }

  const int index_;
  const std::vector<Tool> tools_;
  AnswerStream stream_;
  const bool old_form_;  // of calls
  ChoiceTokens tokens_;
  size_t calls_made_ = 0;
  // Of a stream.
  bool begun_ = false;
  // Of an answer that is kept.
  std::string reasoning_, content_;
  Json calls_ = Json::array();
};

}  // namespace

std::unique_ptr<Choice> completion_choice(int index, std::shared_ptr<PromptShown> prompt,
                                          bool describes, TokensShown tokens) {
  return std::make_unique<CompletionChoice>(index, std::move(prompt), describes, std::move(tokens));
}

std::unique_ptr<Choice> chat_choice(int index, const ChatTemplate& form, const std::string& opening,
                                    const Prefill& prefill, std::vector<Tool> tools,
                                    std::shared_ptr<PromptShown> prompt, TokensShown tokens,
                                    CallForm calls) {
  return std::make_unique<ChatChoice>(index, form, opening, prefill, std::move(tools),
                                      std::move(prompt), std::move(tokens), calls);
}

}  // namespace anser::openai
