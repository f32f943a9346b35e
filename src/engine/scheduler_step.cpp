// One step of all texts in work.
#include <algorithm>
#include <cmath>
#include <new>
#include <span>
#include <utility>

#include "engine/logprobs.h"
#include "engine/scheduler_work.h"
#include "text/utf8.h"

namespace anser {
namespace {

// Of prompts whose tokens' probabilities are wanted: so many logits are kept at a time, 64 MB.
constexpr size_t kPromptLogits = size_t(16) << 20;

}  // namespace

void Scheduler::Work::step() {
  std::vector<Sequence> batch;
  std::vector<Text*> texts;
  choose(batch, texts);
  if (!batch.empty()) read(batch, texts);
  remove_finished();
  draw();
  remove_finished();
}

// Every text that is being written has its next token read; prompts share what time there is.
void Scheduler::Work::choose(std::vector<Sequence>& batch, std::vector<Text*>& texts) {
  int prompts = 0;
  bool writing = false;
  for (const auto& text : running_) {
    if (text->writing) writing = true;
    if (text->in_prompt() && text->leader == 0) ++prompts;
  }
  // Where nobody waits for a next token, longer pieces read weights less often.
  size_t rows =
      prompts == 0
          ? 0
          : size_t(std::max(prompts, pace_.rows_in(options_.piece_seconds * (writing ? 1 : 4))));
  int shares = prompts;
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  size_t room = std::max<size_t>(1, kPromptLogits / vocab);  // rows of prompt_logits_
  size_t logits_used = 0;
  for (const auto& text : running_) {
    size_t count = text->left();
    if (count == 0 || text->leader != 0) continue;
    float* logits = nullptr;
    if (!text->writing) {
      // An equal share of what is left, so that short prompts are done soon; what they leave over
      // goes to the others.
      count = std::min(count, std::max<size_t>(1, rows / size_t(shares--) / text->row_cost()));
      // Not past a state that is to be kept.
      count = std::min(count, *text->checkpoints.upper_bound(text->fed) - text->fed);
      if (text->wants_all_logits()) {
        if (room == 0) continue;  // in a later step
        count = std::min(count, room);
        room -= count;
        prompt_logits_.resize(std::max<size_t>(1, kPromptLogits / vocab) * vocab);
        logits = prompt_logits_.data() + std::exchange(logits_used, logits_used + count * vocab);
      }
      rows -= std::min(rows, count * text->row_cost());
    }
    const std::span<const Token> piece(text->pending.data() + text->fed, count);
    const LogitsFor wanted = logits != nullptr       ? LogitsFor::all
                             : count == text->left() ? LogitsFor::last
                                                     : LogitsFor::none;
    batch.push_back({&text->state, piece, wanted, logits, text->traced ? &text->trace : nullptr});
    texts.push_back(text.get());
  }
}

void Scheduler::Work::read(const std::vector<Sequence>& batch, const std::vector<Text*>& texts) {
  const Clock::time_point begin = Clock::now();
  std::string error;
  try {
    for (Text* text : texts) {
      if (text->wants_all_logits() && text->fed == 0) {
        text->describe_prompt(0, std::as_const(text->state).logits());
      }
    }
    engine_.forward(batch);
    engine_.wait();
    describe_prompts(batch, texts);
  } catch (const std::bad_alloc&) {
    error = kOutOfMemory;
    for (Text* text : texts) text->no_memory = true;
  } catch (const std::exception& failure) {
    error = failure.what();
  }
  const double seconds = seconds_since(begin);

  int prompt_rows = 0, cost = 0;
  bool writing = false;
  for (size_t i = 0; i < texts.size(); ++i) {
    writing |= texts[i]->writing;
    if (!texts[i]->writing) {
      prompt_rows += int(batch[i].tokens.size());
      cost += int(batch[i].tokens.size() * texts[i]->row_cost());
    }
    texts[i]->fed += batch[i].tokens.size();
  }
  pace_.learn(cost, writing, seconds);
  {
    const std::lock_guard lock(mutex_);
    ++stats_.steps;
    stats_.prompt_tokens += uint64_t(prompt_rows);
    if (writing && prompt_rows > 0) {
      stats_.longest_step_s = std::max(stats_.longest_step_s, seconds);
    }
  }
  if (!error.empty()) fail(batch, texts, error);
  for (Text* text : texts) {
    if (text->writing || is_finished(*text)) continue;
    keep(*text);
    go_on_after(*text);
    if (!text->give({})) finish(*text, StopReason::cancelled);
  }
}

// Each row of logits is what the next token of the prompt would have been drawn from.
void Scheduler::Work::describe_prompts(const std::vector<Sequence>& batch,
                                       const std::vector<Text*>& texts) {
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (batch[i].wanted != LogitsFor::all) continue;
    for (size_t row = 0; row < batch[i].tokens.size(); ++row) {
      texts[i]->describe_prompt(texts[i]->fed + row + 1, {batch[i].logits + row * vocab, vocab});
    }
  }
}

// A text whose numbers have left the range of floats fails alone, for the others have been read
// nonetheless. Where none is to blame, all fail.
void Scheduler::Work::fail(const std::vector<Sequence>& batch, const std::vector<Text*>& texts,
                           const std::string& error) {
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  const auto finite = [&](const Sequence& s) {
    const auto all = [](std::span<const float> logits) {
      return std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); });
    };
    if (s.wanted == LogitsFor::all) return all({s.logits, s.tokens.size() * vocab});
    return !s.state->has_logits() || all(std::as_const(*s.state).logits());
  };
  std::vector<bool> is_finite;
  for (const Sequence& s : batch) is_finite.push_back(finite(s));
  const bool one_is_to_blame = std::ranges::count(is_finite, false) > 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!one_is_to_blame || !is_finite[i]) finish(*texts[i], StopReason::cancelled, error);
  }
}

// A token for every text that has been read to its end.
void Scheduler::Work::draw() {
  std::vector<Draw> draws;
  std::vector<Text*> texts;
  for (const auto& text : running_) {
    if (text->left() > 0) continue;
    if (!text->writing) {
      text->writing = true;
      text->continuation.begin(unfinished_end(text->state.text_end()));
      text->written = Clock::now();
    }
    if (text->end || !text->continuation.wants_token()) {
      finish(*text, text->end.value_or(StopReason::length));
      continue;
    }
    draws.push_back({&text->state, &text->continuation.sampler()});
    texts.push_back(text.get());
  }
  try {
    engine_.sample(draws);
  } catch (const std::bad_alloc&) {
    for (Text* text : texts) {
      text->no_memory = true;
      finish(*text, StopReason::cancelled, kOutOfMemory);
    }
    return;
  } catch (const std::exception& failure) {
    // Some samplers have drawn already, and none can be told from the others.
    for (Text* text : texts) finish(*text, StopReason::cancelled, failure.what());
    return;
  }
  engine_.for_each(texts.size(), [&](size_t i) {
    try {
      take(*texts[i], draws[i].token);
    } catch (const std::bad_alloc&) {
      texts[i]->no_memory = true;
    }
  });
  for (Text* text : texts) {
    if (text->no_memory) {
      finish(*text, StopReason::cancelled, kOutOfMemory);
    } else if (text->end && (text->pending.empty() || !text->keep_state))
      finish(*text, *text->end);
  }
  const std::lock_guard lock(mutex_);
  stats_.generated_tokens += draws.size();
}

// What a token means for its text, and for nobody else: others' are taken at the same time.
void Scheduler::Work::take(Text& text, Token token) {
  if (text.top_logprobs >= 0) {
    text.details.push_back(
        token_details(std::as_const(text.state).logits(), token, text.top_logprobs));
  }
  Continuation::Next next = text.continuation.take(token);
  if (next.mark) text.marked = text.state;
  if (!text.give(next.text) && !next.end) next = text.continuation.cancel();
  if (next.rewind) text.state = text.marked;
  text.pending = std::move(next.feed);
  text.fed = 0;
  text.end = next.end;
  if (!text.end && !text.continuation.wants_token()) {
    text.give(text.continuation.finish());
    text.end = StopReason::length;
  }
}

}  // namespace anser
