// What a Scheduler does, on its thread: scheduler.cpp has who comes and who goes,
// scheduler_step.cpp what happens in between.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "anser/scheduler.h"
#include "base/start_threads.h"
#include "engine/mask_preparation.h"
#include "engine/pace.h"
#include "engine/prefix_cache.h"
#include "engine/scheduled_text.h"

namespace anser {

inline double seconds_since(ScheduledText::Clock::time_point begin) {
  return std::chrono::duration<double>(ScheduledText::Clock::now() - begin).count();
}

// Short enough for a std::string to need no memory.
inline constexpr char kOutOfMemory[] = "out of memory";

class Scheduler::Work {
 public:
  Work(Engine& engine, const SchedulerOptions& options)
      : engine_(engine),
        options_(options),
        cache_(options.cache_bytes, state_bytes(engine.model())),
        finished_(room_for(options.max_batch)),
        thread_(start_thread([this] { serve(); })) {}

  ~Work() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }

  std::vector<Id> submit(std::vector<Order>&& orders,
                         std::vector<std::shared_ptr<Reader>>&& readers);
  void cancel(Id id);
  bool drain(double seconds);
  void conclude();
  SchedulerStats stats() const {
    const std::lock_guard lock(mutex_);
    SchedulerStats now = stats_;
    now.queued = int(queue_.size());
    now.paused = std::min(now.paused, now.running);
    now.queued_bytes = queued_bytes();
    return now;
  }

 private:
  using Text = ScheduledText;
  using Clock = Text::Clock;
  using Texts = std::vector<std::unique_ptr<Text>>;

  static size_t state_bytes(const Model& model) {
    const size_t numbers = model.initial_state().shape().floats();
    return (numbers + size_t(model.hyperparameters().vocab)) * sizeof(float);
  }

  // With mutex_ held.
  uint64_t queued_bytes() const {
    uint64_t bytes = 0;
    for (const auto& text : queue_) bytes += text->prompt_bytes();
    return bytes;
  }

  bool has_waited_too_long(const Text& text) const {
    return options_.max_wait_seconds > 0 &&
           seconds_since(text.submitted) > options_.max_wait_seconds;
  }
  std::unique_ptr<Text> accepted(Order&& order, std::shared_ptr<Reader>&& reader) const;
  bool has_room(const std::string& client, size_t count, uint64_t bytes) const;
  std::shared_ptr<ScheduledClient> client_of(const std::string& name);
  void end_if_overdue(Text& text);
  void begin(Text& text);
  void keep(const Text& text);
  void go_on_after(const Text& leader);
  void serve();
  bool admit();
  void cut_short(Text& text);
  void conclude(Text& text);
  void step();
  scheduling::Plan plan_step();
  scheduling::Plan planned(const scheduling::Budget& budget, bool with_queue);
  scheduling::Running view_of(const Text& text, size_t client) const;
  size_t client_index(ScheduledClient& client);
  void choose(std::vector<Sequence>& batch, std::vector<Text*>& texts);
  void read(const std::vector<Sequence>& batch, const std::vector<Text*>& texts);
  void describe_prompts(const std::vector<Sequence>& batch, const std::vector<Text*>& texts);
  void fail(const std::vector<Sequence>& batch, const std::vector<Text*>& texts,
            const std::string& error);
  bool draw();
  bool is_mask_ready(Text& text);
  void note_drawn(const std::vector<Text*>& texts);
  static void take(Text& text, Token token, size_t mask_units);
  void finish(Text& text, StopReason reason, std::string error = {});
  void tell_end(Text& text, StopReason reason, std::string error);
  // scheduler_memory.cpp: where there is none.
  static std::vector<Id> room_for(int places);
  void begin_or_finish(Text& text);
  void remember(const Text& text, std::span<const Token> tokens);
  void finish_for_memory(Text& text);
  void finish_all_for_memory();
  void remove_finished();
  bool is_finished(const Text& text) const {
    return std::ranges::find(finished_, text.id) != finished_.end();
  }

  Engine& engine_;
  const SchedulerOptions options_;

  mutable std::mutex mutex_;  // of all that follows, up to the next comment
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Text>> queue_;
  std::map<std::string, std::weak_ptr<ScheduledClient>> clients_;
  std::vector<Id> cancelled_;
  bool stopping_ = false, draining_ = false, concluding_ = false;
  Id last_id_ = 0;
  SchedulerStats stats_;

  // The thread's own.
  Texts running_;
  uint64_t step_ = 0, plans_ = 0;               // numbers of the step and of the plan
  std::vector<ScheduledClient*> step_clients_;  // of the plan that is being made
  std::vector<float> prompt_logits_;  // of a step's texts that want all, one behind the other
  Pace pace_;
  PrefixCache cache_;
  std::vector<Id> finished_;  // of running_, to be removed
  MaskPreparation masks_;

  std::jthread thread_;  // the last, so that it ends before the rest does
};

}  // namespace anser
