// Where a Redis server is, and how one gets in.
#pragma once

#include <string>
#include <string_view>

namespace anser {

struct RedisUrl {
  std::string host;
  int port = 6379;
  std::string user;      // empty: Redis's default user
  std::string password;  // empty: none is sent
  int database = 0;

  // For messages and logs: without user and password.
  std::string where() const;
};

// Whether a text asks for Redis, rightly or not: "redis:", "rediss:".
bool is_redis_url(std::string_view text);

// "redis://[[user]:password@]host[:port][/database]". An IPv6 address stands in brackets; %3A and
// the like are allowed in user and password. Throws Error that says what is wrong and never shows
// more of the text than stands behind its '@'.
RedisUrl parse_redis_url(std::string_view text);

}  // namespace anser
