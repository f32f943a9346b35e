// Streams that whoever started us has made non-blocking: they are not at their end when they have
// nothing, or no room, just now.
#pragma once

#include <poll.h>

#include <cerrno>

namespace anser {

// After a read() or write() of `fd` that failed with `error`: if it only was not ready, waits until
// it is and returns true: try again.
inline bool wait_until_ready(int fd, int error, short events = POLLOUT) {
  if (error != EAGAIN && error != EWOULDBLOCK) return false;
  pollfd waiting{fd, events, 0};
  // An interruption is for the caller to look at, who then comes here again.
  return ::poll(&waiting, 1, -1) >= 0 || errno == EINTR;
}

}  // namespace anser
