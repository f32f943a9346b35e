#include "engine/mask_preparation.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "base/start_threads.h"

namespace anser {
namespace {

// Units of ConstraintMatcher::prepare() at a turn: a fraction of a millisecond.
constexpr size_t kTurn = 50'000;

// The engine's own threads have most of the cores.
int threads() {
  return int(std::clamp(std::thread::hardware_concurrency() / 4, 1u, 4u));
}

}  // namespace

MaskPreparation::MaskPreparation() {
  start_threads(
      threads_, threads(), [this](int) { work(); }, [this] { stop(); });
}

MaskPreparation::~MaskPreparation() {
  stop();
}

void MaskPreparation::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

void MaskPreparation::begin(Id id, const ConstraintMatcher& matcher) {
  const std::lock_guard lock(mutex_);
  jobs_.insert_or_assign(id, Job{matcher});
  changed_.notify_one();
}

std::optional<MaskPreparation::Prepared> MaskPreparation::take(Id id) {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || !found->second.done) return std::nullopt;
  Prepared prepared{std::move(found->second.matcher), std::move(found->second.error)};
  jobs_.erase(found);
  return prepared;
}

void MaskPreparation::drop(Id id, const ConstraintMatcher& matcher) {
  const std::lock_guard lock(mutex_);
  dropped_.push_back(matcher);
  if (const auto found = jobs_.find(id); found != jobs_.end()) {
    found->second.dropped = true;
    if (!found->second.busy) {
      dropped_.push_back(std::move(found->second.matcher));
      jobs_.erase(found);
    }
  }
  changed_.notify_one();
}

void MaskPreparation::wait(double seconds) {
  std::unique_lock lock(mutex_);
  prepared_.wait_for(lock, std::chrono::duration<double>(seconds), [&] {
    return std::ranges::any_of(jobs_, [](const auto& job) { return job.second.done; });
  });
}

// Of those that nobody works at, the one that has had least.
MaskPreparation::Job* MaskPreparation::next() {
  Job* least = nullptr;
  for (auto& [id, job] : jobs_) {
    if (job.busy || job.done) continue;
    if (least == nullptr || job.units < least->units) least = &job;
  }
  return least;
}

void MaskPreparation::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !dropped_.empty() || next() != nullptr; });
    if (stopping_) return;
    if (!dropped_.empty()) {
      std::vector<ConstraintMatcher> dropped = std::exchange(dropped_, {});
      lock.unlock();
      dropped.clear();
      lock.lock();
    }
    if (Job* job = next(); job != nullptr) do_some(*job, lock);
  }
}

void MaskPreparation::do_some(Job& job, std::unique_lock<std::mutex>& lock) {
  job.busy = true;
  lock.unlock();
  size_t left = kTurn;
  bool done = false;
  std::string error;
  try {
    done = job.matcher.prepare(left);
  } catch (const std::exception& failure) {
    error = failure.what();
    done = true;
  }
  lock.lock();
  job.busy = false;
  job.units += kTurn - left;
  job.done = done;
  job.error = std::move(error);
  if (job.dropped) {
    dropped_.push_back(std::move(job.matcher));
    std::erase_if(jobs_, [&](const auto& other) { return &other.second == &job; });
  } else if (done) {
    prepared_.notify_all();
  }
}

}  // namespace anser
