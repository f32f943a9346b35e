#include "anser/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <span>
#include <utility>

#include "anser/error.h"
#include "engine/scheduler_work.h"

namespace anser {
namespace {

// To wait for another text's state is worth it from so many common tokens on.
constexpr size_t kWorthWaiting = 16;

size_t common(std::span<const Token> a, std::span<const Token> b) {
  return size_t(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

std::unique_ptr<Scheduler::Work::Text> Scheduler::Work::accepted(
    Order&& order, std::shared_ptr<Reader>&& reader) const {
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
  if (!options_.shared_cache) {
    order.origin = fmt::format("{}:{}{}", order.client.size(), order.client, order.origin);
  }
  auto text =
      std::make_unique<Text>(std::move(order), model.tokenizer(), std::move(reader), cached);
  text->from_the_beginning = initial;
  return text;
}

// With mutex_ held, as the next one.
bool Scheduler::Work::has_room(const std::string& client, size_t count, uint64_t bytes) const {
  struct Waiting {
    size_t count = 0;
    uint64_t bytes = 0;
  };
  std::map<std::string_view, Waiting> waiting;
  Waiting all{count, bytes}, mine{count, bytes};
  const auto add = [](Waiting& to, const Text& text) {
    ++to.count;
    to.bytes += text.prompt_bytes();
  };
  waiting[client];
  for (const auto& text : queue_) {
    add(all, *text);
    add(waiting[text->client->name], *text);
    if (text->client->name == client) add(mine, *text);
  }
  const size_t most = size_t(options_.max_queue);
  if (all.count <= most && (queue_.empty() || all.bytes <= options_.queue_bytes)) return true;
  // Others have filled the queue: a client that has less than its share may wait all the same.
  return mine.count <= most / waiting.size() && mine.bytes <= options_.queue_bytes / waiting.size();
}

std::shared_ptr<ScheduledClient> Scheduler::Work::client_of(const std::string& name) {
  if (auto known = clients_[name].lock()) return known;
  std::erase_if(clients_, [](const auto& entry) { return entry.second.expired(); });
  auto client = std::make_shared<ScheduledClient>();
  client->name = name;
  clients_[name] = client;
  return client;
}

std::vector<Scheduler::Id> Scheduler::Work::submit(std::vector<Order>&& orders,
                                                   std::vector<std::shared_ptr<Reader>>&& readers) {
  if (orders.empty()) return {};
  const std::string client = orders[0].client;
  Texts texts;  // all of them are looked at before the first one is queued
  for (size_t i = 0; i < orders.size(); ++i) {
    try {
      texts.push_back(accepted(std::move(orders[i]), std::move(readers[i])));
    } catch (const Error& error) {
      if (orders.size() == 1) throw;
      throw Error(fmt::format("text {} of {}: {}", i + 1, orders.size(), error.what()));
    }
  }
  uint64_t bytes = 0;
  for (const auto& text : texts) bytes += text->prompt_bytes();
  std::vector<Id> ids;
  const std::lock_guard lock(mutex_);
  if (draining_ || stopping_ || !has_room(client, texts.size(), bytes)) {
    stats_.refused += texts.size();
    return {};
  }
  const std::shared_ptr<ScheduledClient> known = client_of(client);
  for (auto& text : texts) {
    text->client = known;
    ids.push_back(text->id = ++last_id_);
  }
  // Nothing throws any more, or nothing has happened.
  queue_.insert(queue_.end(), std::make_move_iterator(texts.begin()),
                std::make_move_iterator(texts.end()));
  changed_.notify_all();
  return ids;
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
  for (bool goes_on = true; goes_on;) {
    try {
      goes_on = admit();
      if (goes_on) step();
    } catch (const std::exception&) {  // for want of memory: all else is caught where it happens
      finish_all_for_memory();
    }
  }
}

// Takes in what has come, waiting for it when there is nothing to do. False: the end.
bool Scheduler::Work::admit() {
  std::vector<Id> cancelled;
  Texts dropped, overdue;  // from the queue
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
    dropped.reserve(queue_.size());  // before anything is moved
    overdue.reserve(queue_.size());
    for (auto& text : queue_) {
      if (concluding || std::ranges::find(cancelled, text->id) != cancelled.end()) {
        dropped.push_back(std::move(text));
      } else if (has_waited_too_long(*text)) {
        overdue.push_back(std::move(text));
      }
    }
    std::erase(queue_, nullptr);
  }
  for (const auto& text : dropped) tell_end(*text, StopReason::cancelled, {});
  for (const auto& text : overdue) {
    text->overdue = true;
    tell_end(*text, StopReason::cancelled,
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
  if (options_.max_seconds <= 0 || text.end || text.overdue || text.told) return;
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
  if (!text.cached || text.prompt.empty() || text.prompt_logprobs >= 0) return;
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
    if (other->told || !other->in_prompt() || !other->cached) continue;
    if (other->origin != text.origin) continue;
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
  if (text.cached && text.checkpoints.contains(text.fed)) remember(text, text.read_so_far());
}

// Those who wait for it, if it has read what they share, or never will.
void Scheduler::Work::go_on_after(const Text& leader) {
  const bool gone = is_finished(leader);
  for (const auto& text : running_) {
    if (text->leader == leader.id && (gone || leader.fed >= text->shared)) {
      begin_or_finish(*text);
    }
  }
}

void Scheduler::Work::tell_end(Text& text, StopReason reason, std::string error) try {
  if (text.cached && text.writing && text.left() == 0 && error.empty()) {
    // The next message of a conversation goes on from here.
    std::vector<Token> whole = text.prompt;
    const std::vector<Token>& written = text.continuation.tokens();
    whole.insert(whole.end(), written.begin(), written.end());
    remember(text, whole);
  }
  Finished finished;
  finished.cached_tokens = text.cached_tokens;
  finished.reason = reason;
  finished.error = std::move(error);
  finished.overdue = text.overdue;
  finished.ambiguous = text.ambiguous;
  finished.no_memory = text.no_memory;
  finished.tokens = text.continuation.tokens();
  finished.drawn_tokens = text.drawn_tokens;
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
  text.told = true;
  text.reader->on_end(std::move(finished));
} catch (const std::exception&) {
  finish_for_memory(text);
}

void Scheduler::Work::finish(Text& text, StopReason reason, std::string error) {
  tell_end(text, reason, std::move(error));
  finished_.push_back(text.id);
}

void Scheduler::Work::remove_finished() {
  if (finished_.empty()) return;
  for (const auto& text : running_) {
    if (!is_finished(*text)) continue;
    go_on_after(*text);
    const ConstraintMatcher* const matcher = text->continuation.sampler().matcher();
    if (matcher != nullptr) masks_.drop(text->id, *matcher);
  }
  std::erase_if(running_, [&](const std::unique_ptr<Text>& text) { return is_finished(*text); });
  finished_.clear();
}

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options)
    : work_(std::make_unique<Work>(engine, options)) {}
Scheduler::~Scheduler() = default;

Scheduler::Id Scheduler::submit(Order order, std::shared_ptr<Reader> reader) {
  std::vector<Order> orders;
  orders.push_back(std::move(order));
  const std::vector<Id> ids = submit(std::move(orders), {std::move(reader)});
  return ids.empty() ? 0 : ids[0];
}
std::vector<Scheduler::Id> Scheduler::submit(std::vector<Order> orders,
                                             std::vector<std::shared_ptr<Reader>> readers) {
  return work_->submit(std::move(orders), std::move(readers));
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
