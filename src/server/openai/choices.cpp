#include "server/openai/choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/openai/answer_stream.h"
#include "server/openai/logprob_object.h"

namespace anser::openai {
namespace {

// A token's bytes as text; those that are no UTF-8 by themselves become U+FFFD when it is dumped.
std::string text_of(const Tokenizer& tokenizer, Token token) {
  return std::string(tokenizer.bytes_of(token));
}

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
Json top_entry(const TokenDetails& token, const Tokenizer& tokenizer) {
  Json best = is_known(token) ? Json::object() : Json();
  for (const TokenLogprob& other : token.top) {
    best[text_of(tokenizer, other.token)] = other.logprob;
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
  CompletionChoice(int index, std::shared_ptr<Echo> echo, bool logprobs, Tokenizer tokenizer)
      : index_(index),
        echo_(std::move(echo)),
        describes_echo_(echo_ != nullptr && !std::exchange(echo_->described, true)),
        logprobs_(logprobs),
        tokenizer_(std::move(tokenizer)) {}

  std::vector<Json> chunks(std::string_view piece,
                           const std::vector<TokenDetails>& details) override {
    const std::string text = echo_once() + std::string(piece);
    if (text.empty() && details.empty()) return {};
    return {chunk(text, details, nullptr)};
  }

  std::vector<Json> last_chunks(StopReason reason) override {
    return {chunk(echo_once(), {}, finish_reason(reason))};
  }

  void keep(std::string_view piece, const std::vector<TokenDetails>& details) override {
    text_ += piece;
    for (const TokenDetails& token : details) {
      const bool of_echo = describes_echo_ && echo_->details.size() < echo_->tokens;
      (of_echo ? echo_->details : details_).add(token);
    }
  }

  JsonPieces whole(StopReason reason) override {
    JsonPieces pieces("{\"text\":");
    pieces.add_later([this] { return dumped(echo_ == nullptr ? text_ : echo_->text + text_); });
    pieces.add(fmt::format(",\"index\":{},\"logprobs\":", index_));
    if (logprobs_) {
      add_lists(pieces);
    } else {
      pieces.add("null");
    }
    pieces.add(fmt::format(",\"finish_reason\":\"{}\"", finish_reason(reason)));
    return pieces;
  }

 private:
  std::string echo_once() {
    return echo_ == nullptr || std::exchange(echo_begun_, true) ? "" : echo_->text;
  }

  Json chunk(const std::string& text, const std::vector<TokenDetails>& details,
             const char* reason) {
    return {{"text", text},
            {"index", index_},
            {"logprobs", logprobs_ ? lists(details) : Json()},
            {"finish_reason", reason == nullptr ? Json() : Json(reason)}};
  }

  Json lists(const std::vector<TokenDetails>& details) {
    Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(),
         offsets = Json::array();
    for (const TokenDetails& token : details) {
      tokens.push_back(token_entry(token, tokenizer_));
      logprobs.push_back(logprob_entry(token));
      top.push_back(top_entry(token, tokenizer_));
      offsets.push_back(offset_entry(token, tokenizer_, offset_));
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(logprobs)},
            {"top_logprobs", std::move(top)},
            {"text_offset", std::move(offsets)}};
  }

  // The same of all tokens that are kept.
  void add_lists(JsonPieces& pieces) const {
    const size_t before = echo_ == nullptr ? 0 : echo_->details.size();
    const auto token = [this, before](size_t i) {
      return i < before ? echo_->details[i] : details_[i - before];
    };
    const auto add = [&, count = before + details_.size()](const char* name, auto&& entry) {
      pieces.add(name);
      pieces.add_list(count, [token, entry](size_t i, std::string& to) mutable {
        to += dumped(entry(token(i)));
      });
    };
    add("{\"tokens\":", [this](const TokenDetails& t) { return token_entry(t, tokenizer_); });
    add(",\"token_logprobs\":", [](const TokenDetails& t) { return logprob_entry(t); });
    add(",\"top_logprobs\":", [this](const TokenDetails& t) { return top_entry(t, tokenizer_); });
    add(",\"text_offset\":", [this, offset = size_t{0}](const TokenDetails& t) mutable {
      return Json(offset_entry(t, tokenizer_, offset));
    });
    pieces.add("}");
  }

  const int index_;
  const std::shared_ptr<Echo> echo_;
  const bool describes_echo_;  // the prompt's details come to this choice
  const bool logprobs_;
  const Tokenizer tokenizer_;
  // Of a stream.
  bool echo_begun_ = false;
  size_t offset_ = 0;
  // Of an answer that is kept.
  std::string text_;
  LogprobList details_;
};

class ChatChoice final : public Choice {
 public:
  ChatChoice(int index, const ChatTemplate& form, const std::string& opening,
             std::vector<Tool> tools, bool logprobs, Tokenizer tokenizer, CallForm calls)
      : index_(index),
        tools_(std::move(tools)),
        stream_(form, opening, tools_, calls == CallForm::several),
        old_form_(calls == CallForm::old),
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

  void keep(std::string_view piece, const std::vector<TokenDetails>& details) override {
    keep(stream_.push(piece));
    for (const TokenDetails& token : details) details_.add(token);
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
    if (logprobs_) {
      pieces.add("{\"content\":");
      pieces.add_list(details_.size(), [this](size_t i, std::string& to) {
        to += dumped(logprob_object(details_[i], tokenizer_));
      });
      pieces.add("}");
    } else {
      pieces.add("null");
    }
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

  Json list(const std::vector<TokenDetails>& details) const {
    Json entries = Json::array();
    for (const TokenDetails& token : details) entries.push_back(logprob_object(token, tokenizer_));
    return entries;
  }

  const int index_;
  const std::vector<Tool> tools_;
  AnswerStream stream_;
  const bool old_form_;  // of calls
  const bool logprobs_;
  const Tokenizer tokenizer_;
  size_t calls_made_ = 0;
  // Of a stream.
  bool begun_ = false;
  // Of an answer that is kept.
  std::string reasoning_, content_;
  Json calls_ = Json::array();
  LogprobList details_;
};

}  // namespace

std::unique_ptr<Choice> completion_choice(int index, std::shared_ptr<Echo> echo, bool logprobs,
                                          Tokenizer tokenizer) {
  return std::make_unique<CompletionChoice>(index, std::move(echo), logprobs, std::move(tokenizer));
}

std::unique_ptr<Choice> chat_choice(int index, const ChatTemplate& form, const std::string& opening,
                                    std::vector<Tool> tools, bool logprobs, Tokenizer tokenizer,
                                    CallForm calls) {
  return std::make_unique<ChatChoice>(index, form, opening, std::move(tools), logprobs,
                                      std::move(tokenizer), calls);
}

}  // namespace anser::openai
