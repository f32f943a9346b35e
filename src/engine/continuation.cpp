#include "engine/continuation.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "anser/constraint.h"
#include "anser/error.h"

namespace anser {
namespace {

int checked(int max_tokens) {
  if (max_tokens < 0) {
    throw Error(
        fmt::format("the number of tokens to generate is {}, it must be 0 or more", max_tokens));
  }
  return max_tokens;
}

int checked_least(int min_tokens) {
  if (min_tokens < 0) {
    throw Error(fmt::format("the least number of tokens to generate is {}, it must be 0 or more",
                            min_tokens));
  }
  return min_tokens;
}

std::vector<Token> all_stop_tokens(const GenerateOptions& options, const Tokenizer& tokenizer) {
  std::vector<Token> tokens = options.stop_tokens;
  if (options.ignore_eos) return tokens;
  // A byte that ends the model's texts, a line's end for one, does not end a text that needs it.
  const auto needed = [&](Token token) {
    return options.constraint != nullptr && options.constraint->needs(token);
  };
  std::ranges::remove_copy_if(tokenizer.eos(), std::back_inserter(tokens), needed);
  return tokens;
}

}  // namespace

Continuation::Continuation(Tokenizer tokenizer, const GenerateOptions& options, bool rewinds)
    : tokenizer_(std::move(tokenizer)),
      max_tokens_(checked(options.max_tokens)),
      min_tokens_(checked_least(options.min_tokens)),
      stop_tokens_(all_stop_tokens(options, tokenizer_)),
      included_stops_(options.include_stop_tokens && !options.constraint ? options.stop_tokens
                                                                         : std::vector<Token>()),
      rewinds_(rewinds),
      constrained_(options.constraint != nullptr),
      sampler_(options.sampling),
      stream_(options.stop, options.stop_after) {
  if (options.constraint) sampler_.constrain(options.constraint, stop_tokens_);
  if (min_tokens_ > 0) sampler_.postpone_ends(stop_tokens_);
}

// The token is not part of the text, or it is its last one.
void Continuation::take_stop(Token token, Next& next) {
  const std::string_view bytes = tokenizer_.bytes_of(token);
  next.text = stream_.finish();
  if (!bytes.empty() && std::ranges::find(included_stops_, token) != included_stops_.end()) {
    bool stopped = false;
    next.text += stream_.push(bytes, stopped, false);
    tokens_.push_back(token);
    next.feed = {token};
  }
  next.end = StopReason::stop_token;
  ended_ = true;
}

// In place of the last token, which has more behind these bytes, of which nothing is given out.
void Continuation::read_only(std::string_view bytes, Next& next) {
  next.feed = tokenizer_.encode(bytes);
  tokens_.pop_back();
  tokens_.insert(tokens_.end(), next.feed.begin(), next.feed.end());
}

Continuation::Next Continuation::take(Token token) {
  Next next;
  if (std::ranges::find(stop_tokens_, token) != stop_tokens_.end()) {
    take_stop(token, next);
    return next;
  }
  const std::string_view bytes = tokenizer_.bytes_of(token);
  sampler_.accept(token, bytes);

  const size_t before = stream_.pushed();
  bool stopped = false;
  next.text = stream_.push(bytes, stopped, int(tokens_.size()) >= min_tokens_);
  // The model has not read the token yet. What is held back now may turn out to be a stop string:
  // if it begins in this token, and not in one before, this is the place to come back to.
  if (rewinds_ && stream_.decided() < stream_.pushed() && stream_.decided() >= before) {
    next.mark = true;
    mark_tokens_ = tokens_.size();
    mark_bytes_ = before;
    since_mark_.clear();
  }
  since_mark_ += bytes;
  last_ = token;
  tokens_.push_back(token);
  next.feed = {token};
  if (min_tokens_ > 0 && int(tokens_.size()) == min_tokens_) sampler_.allow_ends();
  if (stopped) {
    const size_t used = stream_.pushed() - before;
    if (stream_.decided() == stream_.pushed() && used < bytes.size()) {
      read_only(bytes.substr(0, used), next);
    }
    end(StopReason::stop_text, next);
  } else if (sampler_.ended()) {
    next.text += stream_.finish();
    next.end = StopReason::complete;
    ended_ = true;
  }
  return next;
}

Continuation::Next Continuation::cancel() {
  Next next;
  next.feed = {last_};
  end(StopReason::cancelled, next);
  return next;
}

// Nothing is flushed: what is held back belongs to the stop string, or nobody wants it.
void Continuation::end(StopReason reason, Next& next) {
  next.end = reason;
  ended_ = true;
  if (!rewinds_ || stream_.decided() == stream_.pushed()) return;
  // The part that was given out is read again, in tokens of its own.
  const size_t given = stream_.decided() - std::min(stream_.decided(), mark_bytes_);
  next.rewind = true;
  next.feed = tokenizer_.encode(std::string_view(since_mark_).substr(0, given));
  tokens_.resize(mark_tokens_);
  tokens_.insert(tokens_.end(), next.feed.begin(), next.feed.end());
}

std::string Continuation::finish() {
  return stream_.finish();
}

}  // namespace anser
