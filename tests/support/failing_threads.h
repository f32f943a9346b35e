// A system that allows no more threads from some point on. Linking it takes pthread_create's place.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "anser/error.h"

namespace support {

// While one exists, the first `allowed` threads that are started are, and no others.
class FailingThreads {
 public:
  explicit FailingThreads(int allowed);
  ~FailingThreads();
  FailingThreads(const FailingThreads&) = delete;
  FailingThreads& operator=(const FailingThreads&) = delete;

  // Whether one was refused.
  static bool refused();
  // Sanitizers have a pthread_create of their own, which cannot be replaced.
  static bool works();
};

// Makes things that start threads, by make(), where 0, 1, 2... threads are allowed, until all are.
// Each time the rest is refused there must be an Error that says what to do, and an end. Returns
// how often that was.
template <class Make>
int refuse_threads(const Make& make) {
  for (int allowed = 0;; ++allowed) {
    const FailingThreads failing(allowed);
    try {
      make();
      if (!FailingThreads::refused()) return allowed;
      ADD_FAILURE() << "no error where " << allowed << " threads are allowed";
    } catch (const anser::Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("cannot be started"), std::string::npos) << text;
      EXPECT_NE(text.find("--threads"), std::string::npos) << text;
    }
  }
}

}  // namespace support
