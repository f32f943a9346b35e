// Connections to a Redis server, over hiredis.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/redis_url.h"
#include "store/states.h"

struct redisContext;
struct redisReply;

namespace anser {

using RedisReply = std::unique_ptr<redisReply, void (*)(void*)>;

// One connection, used by one thread at a time. All functions throw Error that begins with where
// the server is, and never shows the password: StatesUnavailable when the server is not there,
// keeps silent, or says that it cannot serve at present.
class RedisConnection {
 public:
  // Connects, logs in and chooses the database. `timeout_s`: how long the network, or the server,
  // may keep silent while somebody waits.
  RedisConnection(const RedisUrl& url, double timeout_s);

  // Sends a command and waits for its answer, which is no error. When the connection breaks, or the
  // answer does not come, whether the command was carried out is not known.
  RedisReply command(std::span<const std::string_view> words);

  // Whether it can carry another command, as far as one knows without asking the server.
  bool usable() const;

 private:
  RedisReply exchange(std::span<const std::string_view> words);
  void log_in(const RedisUrl& url);
  [[noreturn]] void broken(const char* doing);
  [[noreturn]] void fail_by(std::string_view error) const;

  const std::string where_;
  const double timeout_s_;
  bool broken_ = false;
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

// The connections of a process: as many as are needed at once, the idle ones kept. May be used by
// many threads.
class RedisPool {
 public:
  RedisPool(const RedisUrl& url, double timeout_s) : url_(url), timeout_s_(timeout_s) {}

  // On an idle connection that still stands, or on a new one: a server that was gone and is back is
  // found again.
  RedisReply command(std::span<const std::string_view> words);

  std::string where() const { return url_.where(); }

 private:
  std::unique_ptr<RedisConnection> take();

  const RedisUrl url_;
  const double timeout_s_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<RedisConnection>> idle_;
};

}  // namespace anser
