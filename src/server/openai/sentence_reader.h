// Texts that end with a sentence if they can.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "anser/scheduler.h"
#include "text/prose.h"

namespace anser::openai {

// Ends the text in the last third of `max_tokens`, and not before `min_tokens`, at the first place
// where a sentence ends; to the inner reader that is its length. `before`: what the text goes on
// with.
class SentenceReader final : public Reader {
 public:
  SentenceReader(std::shared_ptr<Reader> inner, std::string_view before, int max_tokens,
                 int min_tokens = 0)
      : inner_(std::move(inner)), soon_(std::max(max_tokens - max_tokens / 3, min_tokens)) {
    sentence_.read(before);
  }

  bool on_text(std::string_view piece, std::vector<TokenDetails> details) override {
    if (!inner_->on_text(piece, std::move(details))) return false;
    sentence_.read(piece);
    ended_ = ++pieces_ >= soon_ && sentence_.here();
    return !ended_;
  }

  void on_end(Finished finished) override {
    if (ended_ && finished.reason == StopReason::cancelled) finished.reason = StopReason::length;
    inner_->on_end(std::move(finished));
  }

 private:
  const std::shared_ptr<Reader> inner_;
  const int soon_;
  int pieces_ = 0;  // no more than there are tokens
  SentenceEnd sentence_;
  bool ended_ = false;
};

}  // namespace anser::openai
