// What a Scheduler does where there is no memory. A text fails alone, where it is known whose need
// could not be met, and all in work fail where it is not; the thread goes on. Nothing here takes
// any.
#include <new>
#include <utility>

#include "base/memory_reserve.h"
#include "engine/scheduler_work.h"

namespace anser {

// So that noting an end needs no memory.
std::vector<Scheduler::Id> Scheduler::Work::room_for(int places) {
  std::vector<Id> ids;
  ids.reserve(size_t(places) * scheduling::kBegunPerPlace);
  return ids;
}

void Scheduler::Work::begin_or_finish(Text& text) {
  try {
    begin(text);
  } catch (const std::bad_alloc&) {
    cache_.clear();
    text.no_memory = true;
    finish(text, StopReason::cancelled, kOutOfMemory);
  }
}

// What the cache cannot keep is read again some day; and what it holds is of more use elsewhere.
void Scheduler::Work::remember(const Text& text, std::span<const Token> tokens) {
  try {
    cache_.put(text.origin, tokens, text.state);
  } catch (const std::bad_alloc&) {
    cache_.clear();
  }
}

// Its reader is told, unless it has been.
void Scheduler::Work::finish_for_memory(Text& text) {
  if (std::exchange(text.told, true)) return;
  Finished finished;
  finished.reason = StopReason::cancelled;
  finished.error = kOutOfMemory;
  finished.no_memory = true;
  {
    const std::lock_guard lock(mutex_);
    ++stats_.failed;
  }
  try {
    text.reader->on_end(std::move(finished));
  } catch (const std::exception&) {
    // It must not; and there is nobody else to tell.
  }
}

void Scheduler::Work::finish_all_for_memory() {
  cache_.clear();
  prompt_logits_ = {};
  for (const auto& text : running_) {
    finish_for_memory(*text);
    const ConstraintMatcher* const matcher = text->continuation.sampler().matcher();
    try {
      if (matcher != nullptr) masks_.drop(text->id, *matcher);
    } catch (const std::bad_alloc&) {
      // Then its mask is prepared for nobody, and freed with the scheduler.
    }
  }
  running_.clear();
  finished_.clear();
  renew_memory_reserve();
}

}  // namespace anser
