// Threads that work together are all started, or none: a limit of the system may allow fewer.
#pragma once

#include <exception>
#include <functional>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace anser {

// Throws Error: thread `number` of `all` has not been started, for this reason; which limits there
// are; that --threads asks for fewer.
[[noreturn]] void fail_thread(int number, int all, const std::system_error& why);

// Appends `count` threads to `threads`, each of which calls work(i), i from 0 on. Where one cannot
// be started, stop() has to make those that run return; they are waited for, and Error is thrown.
// The threads must be joinable so that clearing the list waits: std::jthread.
inline void start_threads(std::vector<std::jthread>& threads, int count,
                          const std::function<void(int)>& work, const std::function<void()>& stop) {
  const size_t before = threads.size();
  try {
    threads.reserve(before + size_t(count));
    for (int i = 0; i < count; ++i) {
      try {
        threads.emplace_back(work, i);
      } catch (const std::system_error& why) {
        fail_thread(i + 1, count, why);
      }
    }
  } catch (...) {
    stop();
    threads.resize(before);
    throw;
  }
}

// One thread. Throws Error.
template <class... Work>
std::jthread start_thread(Work&&... work) {
  try {
    return std::jthread(std::forward<Work>(work)...);
  } catch (const std::system_error& why) {
    fail_thread(1, 1, why);
  }
}

}  // namespace anser
