// Where hiredis was not found at build time.
#include "anser/error.h"
#include "store/open_redis.h"

namespace anser {

OpenedStates open_redis(const RedisUrl& url, const OpenStatesOptions&) {
  throw Error(url.where() +
              ": this program was built without Redis; install hiredis (Debian's libhiredis-dev) "
              "and build it again, or keep states in a folder");
}

}  // namespace anser
