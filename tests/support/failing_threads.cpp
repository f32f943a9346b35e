#include "support/failing_threads.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

#include "support/sanitized.h"

namespace support {
namespace {

std::atomic<int> allowed_threads{1 << 30};
std::atomic<bool> one_refused{false};

}  // namespace

FailingThreads::FailingThreads(int allowed) {
  one_refused = false;
  allowed_threads = allowed;
}
FailingThreads::~FailingThreads() {
  allowed_threads = 1 << 30;
}
bool FailingThreads::refused() {
  return one_refused;
}

bool FailingThreads::works() {
  return !ANSER_SANITIZED;
}

}  // namespace support

#if !ANSER_SANITIZED
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*run)(void*),
                              void* with) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const Create real = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (support::allowed_threads.fetch_sub(1) > 0) return real(thread, how, run, with);
  support::one_refused = true;
  return EAGAIN;
}
#endif
