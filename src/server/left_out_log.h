// The word in the server's log for what is left out of requests (openai/left_out.h).
#pragma once

#include <functional>
#include <mutex>
#include <set>
#include <string>

#include "server/openai/left_out.h"

namespace anser {

// Says it once of each kind, of which there are few: an agent sends the same tools with every
// request. All functions may be called from any thread.
class LeftOutLog {
 public:
  using Notice = std::function<void(const std::string& sentence)>;
  explicit LeftOutLog(Notice notice) : notice_(std::move(notice)) {}

  void add(const openai::LeftOut& left_out) {
    if (!notice_) return;
    for (const std::string& kind : left_out) {
      if (is_new(kind)) notice_("requests have " + kind + "; they are left out");
    }
  }

 private:
  bool is_new(const std::string& kind) {
    const std::lock_guard lock(mutex_);
    return said_.insert(kind).second;
  }

  const Notice notice_;
  std::mutex mutex_;
  std::set<std::string> said_;
};

}  // namespace anser
