#include "server/workers.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "server/answering.h"

namespace anser {

namespace {

// Several, as a schema may take half a second that the others need not wait for.
constexpr int kSmallThreads = 4;
// One, as each may take hundreds of megabytes while it is parsed.
constexpr int kLargeThreads = 1;

constexpr size_t kMostSmall = 1024, kMostLarge = 64;

// A third of the share of a core that a thread of the engine has where both want it: enough to come
// to an end on a busy machine, and the engine is let in first whenever it wakes.
constexpr int kNiceness = 5;

void lower_priority() {
  const auto thread = id_t(::syscall(SYS_gettid));
  ::setpriority(PRIO_PROCESS, thread, ::getpriority(PRIO_PROCESS, thread) + kNiceness);
}

}  // namespace

Workers::Workers(OnFault on_fault)
    : on_fault_(std::move(on_fault)),
      small_(kSmallThreads, kMostSmall),
      large_(kLargeThreads, kMostLarge, lower_priority) {}

void Workers::start(size_t body_bytes, Reply reply, std::function<void()> work) {
  if (lane(body_bytes).busy()) {
    throw openai::ApiError::busy("too many requests are waiting to be read; try again later");
  }
  lane(body_bytes).add(job(body_bytes, std::move(reply), std::move(work)));
}

void Workers::go_on(size_t body_bytes, Reply reply, std::function<void()> work) {
  lane(body_bytes).add_first(job(body_bytes, std::move(reply), std::move(work)));
}

std::function<void()> Workers::job(size_t body_bytes, Reply reply, std::function<void()> work) {
  [[maybe_unused]] const bool large = body_bytes > kLargeBody;
  return [this, large, reply = std::move(reply), work = std::move(work)] {
    if (reply->closed()) return;
    try {
      answering(*reply, work);
    } catch (const std::exception& error) {
      if (on_fault_) on_fault_(error.what());
      reply->error(500, "internal error: the request could not be read");
    }
#ifdef __GLIBC__
    // Else this thread keeps what millions of small values took, for the next such request.
    if (large) ::malloc_trim(0);
#endif
  };
}

void Workers::wait() {
  while (!idle()) {
    small_.wait();
    large_.wait();
  }
}

}  // namespace anser
