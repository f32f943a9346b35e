// What constrained texts may go on with is found out beside the steps that all texts share.
//
// Mostly it is known, or found in a millisecond. Where a schema is ambiguous it takes as long as it
// takes, while the engine computes: the text that it belongs to sits out the steps meanwhile, and
// is the only one that is late. Work is done in short turns, those texts first that have had least.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "anser/constraint.h"

namespace anser {

class MaskPreparation {
 public:
  MaskPreparation();
  ~MaskPreparation();
  MaskPreparation(const MaskPreparation&) = delete;
  MaskPreparation& operator=(const MaskPreparation&) = delete;

  using Id = uint64_t;  // of a text

  void begin(Id id, const ConstraintMatcher& matcher);

  struct Prepared {
    ConstraintMatcher matcher;  // in place of the text's own: its allowed() costs nothing now
    std::string error;          // not empty: there is no mask
  };
  // Nothing while it is being worked at, and where nothing was begun.
  std::optional<Prepared> take(Id id);

  // The text has ended: what is under way for it ends too, and what it remembered is freed here.
  void drop(Id id, const ConstraintMatcher& matcher);

  // Until something has been prepared that nobody has taken, or for so many seconds.
  void wait(double seconds);

 private:
  struct Job {
    ConstraintMatcher matcher;
    size_t units = 0;  // of work done
    bool busy = false, dropped = false, done = false;
    std::string error = {};
  };

  void stop();
  void work();
  Job* next();
  void do_some(Job& job, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;  // of all that follows
  std::condition_variable changed_, prepared_;
  std::map<Id, Job> jobs_;
  std::vector<ConstraintMatcher> dropped_;  // to be freed by a thread that nobody waits for
  bool stopping_ = false;

  std::vector<std::jthread> threads_;  // the last, so that they end before the rest does
};

}  // namespace anser
