#include "server/openai/choices.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/openai/answer_stream.h"

namespace anser::openai {
namespace {

// A token's bytes as text; those that are no UTF-8 by themselves become U+FFFD when it is dumped.
std::string text_of(const Tokenizer& tokenizer, Token token) {
  return std::string(tokenizer.bytes_of(token));
}

class CompletionChoice final : public Choice {
 public:
  CompletionChoice(int index, std::string echo, bool logprobs, Tokenizer tokenizer)
      : index_(index),
        echo_(std::move(echo)),
        logprobs_(logprobs),
        tokenizer_(std::move(tokenizer)) {}

  std::vector<Json> chunks(std::string_view piece,
                           const std::vector<TokenDetails>& details) override {
    const std::string text = std::exchange(echo_, {}) + std::string(piece);
    text_ += text;
    details_.insert(details_.end(), details.begin(), details.end());
    if (text.empty() && details.empty()) return {};
    return {entry(text, details, nullptr)};
  }

  std::vector<Json> last_chunks(StopReason reason) override {
    return {entry(std::exchange(echo_, {}), {}, finish_reason(reason))};
  }

  Json whole(StopReason reason) override {
    offset_ = 0;  // chunks() has counted
    return entry(std::exchange(echo_, {}) + text_, details_, finish_reason(reason));
  }

 private:
  Json entry(const std::string& text, const std::vector<TokenDetails>& details,
             const char* reason) {
    return {{"text", text},
            {"index", index_},
            {"logprobs", logprobs_ ? listed(details) : Json()},
            {"finish_reason", reason == nullptr ? Json() : Json(reason)}};
  }

  Json listed(const std::vector<TokenDetails>& details) {
    Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(),
         offsets = Json::array();
    for (const TokenDetails& token : details) {
      const std::string text = text_of(tokenizer_, token.drawn.token);
      tokens.push_back(text);
      // Nothing came before a text's first token.
      const bool known = !std::isnan(token.drawn.logprob);
      logprobs.push_back(known ? Json(token.drawn.logprob) : Json());
      Json best = known ? Json::object() : Json();
      for (const TokenLogprob& other : token.top) {
        best[text_of(tokenizer_, other.token)] = other.logprob;
      }
      top.push_back(std::move(best));
      offsets.push_back(offset_);
      // In characters, that begin in this token.
      offset_ += size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(logprobs)},
            {"top_logprobs", std::move(top)},
            {"text_offset", std::move(offsets)}};
  }

  const int index_;
  std::string echo_;
  const bool logprobs_;
  const Tokenizer tokenizer_;
  std::string text_;
  std::vector<TokenDetails> details_;
  size_t offset_ = 0;
};

class ChatChoice final : public Choice {
 public:
  ChatChoice(int index, const ChatTemplate& form, const std::string& opening,
             std::vector<Tool> tools, bool logprobs, Tokenizer tokenizer)
      : index_(index),
        tools_(std::move(tools)),
        stream_(form, opening, tools_),
        logprobs_(logprobs),
        tokenizer_(std::move(tokenizer)) {}

  std::vector<Json> chunks(std::string_view piece,
                           const std::vector<TokenDetails>& details) override {
    std::vector<Json> chunks;
    if (!std::exchange(begun_, true)) {
      chunks.push_back(chunk({{"role", "assistant"}, {"content", ""}}, nullptr));
    }
    Json listed = logprobs_ ? list(details) : Json();
    for (Json& delta : deltas(stream_.push(piece)))
      chunks.push_back(chunk(std::move(delta), nullptr));
    if (logprobs_ && !details.empty()) {
      logprobs_list_.insert(logprobs_list_.end(), listed.begin(), listed.end());
      // Words may still be held back; their tokens' details come nonetheless.
      if (chunks.empty()) chunks.push_back(chunk(Json::object(), nullptr));
      chunks.back()["logprobs"] = {{"content", std::move(listed)}};
    }
    return chunks;
  }

  std::vector<Json> last_chunks(StopReason reason) override {
    std::vector<Json> chunks = this->chunks({}, {});
    for (Json& delta : deltas(stream_.finish())) chunks.push_back(chunk(std::move(delta), nullptr));
    chunks.push_back(chunk(Json::object(), reason_of(reason)));
    return chunks;
  }

  Json whole(StopReason reason) override {
    deltas(stream_.finish());
    Json message = {{"role", "assistant"},
                    {"content", content_.empty() && !calls_.empty() ? Json() : Json(content_)}};
    if (!reasoning_.empty()) message["reasoning_content"] = reasoning_;
    if (!calls_.empty()) message["tool_calls"] = calls_;
    return {{"index", index_},
            {"message", std::move(message)},
            {"logprobs", logprobs_ ? Json({{"content", logprobs_list_}}) : Json()},
            {"finish_reason", reason_of(reason)}};
  }

 private:
  Json chunk(Json delta, const char* reason) const {
    return {{"index", index_},
            {"delta", std::move(delta)},
            {"logprobs", nullptr},
            {"finish_reason", reason == nullptr ? Json() : Json(reason)}};
  }

  // And remembers them for the whole.
  std::vector<Json> deltas(const std::vector<AnswerStream::Part>& parts) {
    std::vector<Json> deltas;
    for (const auto& part : parts) {
      switch (part.kind) {
        case AnswerStream::Part::Kind::reasoning:
          reasoning_ += part.text;
          deltas.push_back({{"reasoning_content", part.text}});
          break;
        case AnswerStream::Part::Kind::content:
          content_ += part.text;
          deltas.push_back({{"content", part.text}});
          break;
        case AnswerStream::Part::Kind::call: {
          Json call = {{"id", new_id("call_")},
                       {"type", "function"},
                       {"function", {{"name", part.name}, {"arguments", part.text}}}};
          calls_.push_back(call);
          call["index"] = calls_.size() - 1;
          deltas.push_back({{"tool_calls", Json::array({std::move(call)})}});
          break;
        }
      }
    }
    return deltas;
  }

  const char* reason_of(StopReason reason) const {
    return calls_.empty() ? finish_reason(reason) : "tool_calls";
  }

  Json one(const TokenLogprob& token) const {
    const std::string text = text_of(tokenizer_, token.token);
    Json bytes = Json::array();
    for (const char c : text) bytes.push_back(int(uint8_t(c)));
    return {{"token", text}, {"logprob", token.logprob}, {"bytes", std::move(bytes)}};
  }
  Json list(const std::vector<TokenDetails>& details) const {
    Json entries = Json::array();
    for (const TokenDetails& token : details) {
      Json entry = one(token.drawn);
      entry["top_logprobs"] = Json::array();
      for (const TokenLogprob& other : token.top) entry["top_logprobs"].push_back(one(other));
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  const int index_;
  const std::vector<Tool> tools_;
  AnswerStream stream_;
  const bool logprobs_;
  const Tokenizer tokenizer_;
  bool begun_ = false;
  std::string reasoning_, content_;
  Json calls_ = Json::array(), logprobs_list_ = Json::array();
};

}  // namespace

std::unique_ptr<Choice> completion_choice(int index, std::string echo, bool logprobs,
                                          Tokenizer tokenizer) {
  return std::make_unique<CompletionChoice>(index, std::move(echo), logprobs, std::move(tokenizer));
}

std::unique_ptr<Choice> chat_choice(int index, const ChatTemplate& form, const std::string& opening,
                                    std::vector<Tool> tools, bool logprobs, Tokenizer tokenizer) {
  return std::make_unique<ChatChoice>(index, form, opening, std::move(tools), logprobs,
                                      std::move(tokenizer));
}

}  // namespace anser::openai
