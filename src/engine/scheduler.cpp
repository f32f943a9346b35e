#include "anser/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include "anser/error.h"
#include "engine/logprobs.h"
#include "engine/pace.h"
#include "engine/prefix_cache.h"
#include "engine/scheduled_text.h"

namespace anser {
namespace {

using Text = ScheduledText;
using Clock = Text::Clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// To wait for another text's state is worth it from so many common tokens on.
constexpr size_t kWorthWaiting = 16;

// Of prompts whose tokens' probabilities are wanted: so many logits are kept at a time, 64 MB.
constexpr size_t kPromptLogits = size_t(16) << 20;

size_t common(std::span<const Token> a, std::span<const Token> b) {
  return size_t(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

class Scheduler::Work {
 public:
  Work(Engine& engine, const SchedulerOptions& options)
      : engine_(engine),
        options_(options),
        cache_(options.cache_bytes, state_bytes(engine.model())),
        thread_([this] { serve(); }) {}

  ~Work() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }

  Id submit(Order&& order, std::shared_ptr<Reader>&& reader);
  void cancel(Id id);
  bool drain(double seconds);
  void conclude();
  SchedulerStats stats() const {
    const std::lock_guard lock(mutex_);
    SchedulerStats now = stats_;
    now.queued = int(queue_.size());
    return now;
  }

 private:
  using Texts = std::vector<std::unique_ptr<Text>>;

  static size_t state_bytes(const Model& model) {
    const size_t numbers = model.initial_state().shape().floats();
    return (numbers + size_t(model.hyperparameters().vocab)) * sizeof(float);
  }

  bool has_waited_too_long(const Text& text) const {
    return options_.max_wait_seconds > 0 &&
           seconds_since(text.submitted) > options_.max_wait_seconds;
  }
  void end_if_overdue(Text& text);
  void begin(Text& text);
  void keep(const Text& text);
  void go_on_after(const Text& leader);
  void serve();
  bool admit();
  void cut_short(Text& text);
  void conclude(Text& text);
  void step();
  void choose(std::vector<Sequence>& batch, std::vector<Text*>& texts);
  void read(const std::vector<Sequence>& batch, const std::vector<Text*>& texts);
  void describe_prompts(const std::vector<Sequence>& batch, const std::vector<Text*>& texts);
  void fail(const std::vector<Text*>& texts, const std::string& error);
  void draw();
  void take(Text& text, Token token);
  void finish(Text& text, StopReason reason, std::string error = {});
  void remove_finished();
  bool is_finished(const Text& text) const {
    return std::ranges::find(finished_, text.id) != finished_.end();
  }

  Engine& engine_;
  const SchedulerOptions options_;

  mutable std::mutex mutex_;  // of all that follows, up to the next comment
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Text>> queue_;
  std::vector<Id> cancelled_;
  bool stopping_ = false, draining_ = false, concluding_ = false;
  Id last_id_ = 0;
  SchedulerStats stats_;

  // The thread's own.
  Texts running_;
  std::vector<Id> finished_;          // of running_, to be removed
  std::vector<float> prompt_logits_;  // of a step's texts that want all, one behind the other
  Pace pace_;
  PrefixCache cache_;

  std::jthread thread_;  // the last, so that it ends before the rest does
};

Scheduler::Id Scheduler::Work::submit(Order&& order, std::shared_ptr<Reader>&& reader) {
  const Model& model = engine_.model();
  check_order(order, model);
  if (order.trace && engine_.device() != Device::cpu) {
    throw Error("what tokens do to a state can be traced on the CPU only, and this is a GPU");
  }
  const bool initial = order.state.tokens() == 0 && order.state == model.initial_state();
  const bool cached =
      options_.cache_bytes > 0 && !order.trace && (!order.origin.empty() || initial);
  // A long queue shall not take a state a text.
  if (initial) order.state = State();
  auto text =
      std::make_unique<Text>(std::move(order), model.tokenizer(), std::move(reader), cached);
  text->from_the_beginning = initial;
  const std::lock_guard lock(mutex_);
  if (draining_ || stopping_ || int(queue_.size()) >= options_.max_queue) {
    ++stats_.refused;
    return 0;
  }
  text->id = ++last_id_;
  queue_.push_back(std::move(text));
  changed_.notify_all();
  return last_id_;
}

void Scheduler::Work::cancel(Id id) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(id);
  changed_.notify_all();
}

bool Scheduler::Work::drain(double seconds) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                           [&] { return queue_.empty() && stats_.running == 0; });
}

void Scheduler::Work::conclude() {
  const std::lock_guard lock(mutex_);
  draining_ = concluding_ = true;
  changed_.notify_all();
}

void Scheduler::Work::serve() {
  while (admit()) step();
}

// Takes in what has come, waiting for it when there is nothing to do. False: the end.
bool Scheduler::Work::admit() {
  std::vector<Id> cancelled;
  Texts dropped, overdue;  // from the queue
  const size_t old = running_.size();
  bool stopping, concluding;
  {
    std::unique_lock lock(mutex_);
    stats_.running = int(running_.size());
    changed_.notify_all();
    changed_.wait(lock, [&] {
      return stopping_ || !running_.empty() || !queue_.empty() || !cancelled_.empty();
    });
    stopping = stopping_;
    concluding = stopping || concluding_;
    cancelled = std::exchange(cancelled_, {});
    for (auto& text : queue_) {
      if (concluding || std::ranges::find(cancelled, text->id) != cancelled.end()) {
        dropped.push_back(std::move(text));
      } else if (has_waited_too_long(*text)) {
        overdue.push_back(std::move(text));
      }
    }
    std::erase(queue_, nullptr);
    while (!stopping && !queue_.empty() && int(running_.size()) < options_.max_batch) {
      running_.push_back(std::move(queue_.front()));
      running_.back()->begun = Clock::now();
      queue_.pop_front();
    }
    stats_.running = int(running_.size());
  }
  for (size_t i = old; i < running_.size(); ++i) begin(*running_[i]);
  for (const auto& text : dropped) finish(*text, StopReason::cancelled);
  for (const auto& text : overdue) {
    text->overdue = true;
    finish(*text, StopReason::cancelled,
           fmt::format("the request has waited for {} s, as long as one may, and none of those "
                       "before it has ended; try again later",
                       options_.max_wait_seconds));
  }
  for (const auto& text : running_) end_if_overdue(*text);
  for (const auto& text : running_) {
    if (is_finished(*text)) continue;
    if (stopping || std::ranges::find(cancelled, text->id) != cancelled.end()) {
      finish(*text, StopReason::cancelled);
    } else if (concluding) {
      conclude(*text);
    }
  }
  remove_finished();
  return !stopping;
}

// Its last token is read first, as that of one that has its length is.
void Scheduler::Work::cut_short(Text& text) {
  text.give(text.continuation.finish());
  text.end = StopReason::length;
}

void Scheduler::Work::conclude(Text& text) {
  if (!text.writing || !text.keep_state) return finish(text, StopReason::cancelled);
  if (!text.end) cut_short(text);
}

void Scheduler::Work::end_if_overdue(Text& text) {
  if (options_.max_seconds <= 0 || text.end || text.overdue) return;
  if (seconds_since(text.begun) <= options_.max_seconds) return;
  text.overdue = true;
  if (text.writing) {
    cut_short(text);
  } else {
    finish(text, StopReason::cancelled,
           fmt::format("the prompt could not be read in {} s, as long as a request may take; "
                       "{} of its {} tokens were read. Shorten it, or try again when there are "
                       "fewer requests",
                       options_.max_seconds, text.fed, text.prompt.size()));
  }
}

// Takes up the longest beginning that is known, or waits for one that is being read.
void Scheduler::Work::begin(Text& text) {
  if (std::exchange(text.from_the_beginning, false)) text.state = engine_.model().initial_state();
  text.leader = 0;
  text.shared = 0;
  if (!text.cached || text.prompt.empty() || text.prompt_details) return;
  PrefixCache::Hit hit = cache_.find(text.origin, text.prompt);
  if (hit.tokens == text.prompt.size() && !hit.state->has_logits()) {
    hit = cache_.find(text.origin, std::span(text.prompt).first(text.prompt.size() - 1));
  }
  if (hit.branch > 0) text.checkpoints.insert(hit.branch);
  if (hit.tokens > text.fed) {
    text.cached_tokens += hit.tokens - text.fed;
    text.fed = hit.tokens;
    text.state = *hit.state;
  }
  for (const auto& other : running_) {
    if (other.get() == &text) break;  // who came later waits, so that no two wait for each other
    if (!other->in_prompt() || !other->cached || other->origin != text.origin) continue;
    const size_t shared = common(text.prompt, other->prompt);
    if (shared < text.fed + kWorthWaiting || shared <= other->fed || shared <= text.shared)
      continue;
    text.leader = other->id;
    text.shared = shared;
  }
  if (text.leader == 0) return;
  for (const auto& other : running_) {
    if (other->id == text.leader) other->checkpoints.insert(text.shared);
  }
}

// After a piece of a prompt: its state may be one to keep.
void Scheduler::Work::keep(const Text& text) {
  if (text.cached && text.checkpoints.contains(text.fed)) {
    cache_.put(text.origin, text.read_so_far(), text.state);
  }
}

// Those who wait for it, if it has read what they share, or never will.
void Scheduler::Work::go_on_after(const Text& leader) {
  const bool gone = is_finished(leader);
  for (const auto& text : running_) {
    if (text->leader == leader.id && (gone || leader.fed >= text->shared)) begin(*text);
  }
}

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
  if (!error.empty()) fail(texts, error);
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
void Scheduler::Work::fail(const std::vector<Text*>& texts, const std::string& error) {
  const auto finite = [](const Text* text) {
    return !text->state.has_logits() ||
           std::ranges::all_of(std::as_const(text->state).logits(),
                               [](float logit) { return std::isfinite(logit); });
  };
  const bool one_is_to_blame = !std::ranges::all_of(texts, finite);
  for (Text* text : texts) {
    if (!one_is_to_blame || !finite(text)) finish(*text, StopReason::cancelled, error);
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
  } catch (const std::exception& failure) {
    // Some samplers have drawn already, and none can be told from the others.
    for (Text* text : texts) finish(*text, StopReason::cancelled, failure.what());
    return;
  }
  for (size_t i = 0; i < texts.size(); ++i) take(*texts[i], draws[i].token);
  const std::lock_guard lock(mutex_);
  stats_.generated_tokens += draws.size();
}

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
  if (text.end && (text.pending.empty() || !text.keep_state)) finish(text, *text.end);
}

void Scheduler::Work::finish(Text& text, StopReason reason, std::string error) {
  if (text.cached && text.writing && text.left() == 0 && error.empty()) {
    // The next message of a conversation goes on from here.
    std::vector<Token> whole = text.prompt;
    const std::vector<Token>& written = text.continuation.tokens();
    whole.insert(whole.end(), written.begin(), written.end());
    cache_.put(text.origin, whole, text.state);
  }
  Finished finished;
  finished.cached_tokens = text.cached_tokens;
  finished.reason = reason;
  finished.error = std::move(error);
  finished.overdue = text.overdue;
  finished.tokens = text.continuation.tokens();
  if (text.keep_state && text.left() == 0 && finished.error.empty()) {
    try {
      // Whoever gets it looks at it from other threads, which a device does not like.
      std::as_const(text.state).data();
      std::as_const(text.state).logits();
      finished.state = std::move(text.state);
    } catch (const std::exception& failure) {
      finished.error = failure.what();
    }
  }
  finished.trace = std::move(text.trace);
  const auto between = [](Clock::time_point begin, Clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
  };
  const bool began = text.begun != text.submitted;
  finished.queued_s = began ? between(text.submitted, text.begun) : seconds_since(text.submitted);
  if (began) {
    finished.prompt_s =
        text.writing ? between(text.begun, text.written) : seconds_since(text.begun);
  }
  if (text.writing) finished.generated_s = seconds_since(text.written);
  {
    const std::lock_guard lock(mutex_);
    stats_.cached_tokens += text.cached_tokens;
    stats_.overdue += text.overdue ? 1 : 0;
    stats_.cached_states = cache_.states();
    stats_.cache_bytes = cache_.bytes();
    if (!finished.error.empty()) {
      ++stats_.failed;
    } else {
      ++(reason == StopReason::cancelled ? stats_.cancelled : stats_.finished);
    }
  }
  finished_.push_back(text.id);
  text.reader->on_end(std::move(finished));
}

void Scheduler::Work::remove_finished() {
  if (finished_.empty()) return;
  for (const auto& text : running_) {
    if (is_finished(*text)) go_on_after(*text);
  }
  std::erase_if(running_, [&](const std::unique_ptr<Text>& text) { return is_finished(*text); });
  finished_.clear();
}

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options)
    : work_(std::make_unique<Work>(engine, options)) {}
Scheduler::~Scheduler() = default;

Scheduler::Id Scheduler::submit(Order order, std::shared_ptr<Reader> reader) {
  return work_->submit(std::move(order), std::move(reader));
}
void Scheduler::cancel(Id id) {
  work_->cancel(id);
}
bool Scheduler::drain(double seconds) {
  return work_->drain(seconds);
}
void Scheduler::conclude() {
  work_->conclude();
}
SchedulerStats Scheduler::stats() const {
  return work_->stats();
}

}  // namespace anser
