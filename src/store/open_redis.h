// In redis_store.cpp where hiredis was found at build time, or else no_redis.cpp.
#pragma once

#include "store/open_states.h"
#include "store/redis_url.h"

namespace anser {

OpenedStates open_redis(const RedisUrl& url, const OpenStatesOptions& options);

}  // namespace anser
