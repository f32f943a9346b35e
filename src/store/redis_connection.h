// Connections to a Redis server, over hiredis.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/breaker.h"
#include "store/redis_url.h"
#include "store/store_errors.h"

struct redisContext;
struct redisReply;

namespace anser {

using RedisReply = std::unique_ptr<redisReply, void (*)(void*)>;

// The server, or the network, has kept silent for too long.
class RedisSilent : public StatesUnavailable {
 public:
  using StatesUnavailable::StatesUnavailable;
};

// The call was given up because another one has waited in vain.
class RedisGivenUp : public StatesUnavailable {
 public:
  using StatesUnavailable::StatesUnavailable;
};

// How long one call may wait for Redis, all in all, from connecting to the last byte. What is large
// may take longer: every MB that goes through buys a second more. Bytes that come one by one do
// not.
class RedisWait {
 public:
  explicit RedisWait(double seconds, const Breaker* breaker = nullptr);

  double seconds() const { return seconds_; }
  double left() const;  // seconds, at least 0
  void moved(size_t bytes);

  enum class End { ready, over, given_up };
  // Until the socket can be read or written (`events` of poll(2)), the time is over, or others have
  // waited in vain meanwhile.
  End until_ready(int fd, short events) const;

 private:
  using Clock = std::chrono::steady_clock;

  const double seconds_;
  Clock::time_point end_;
  const Breaker* breaker_;
  uint64_t in_vain_;
};

// One connection, used by one thread at a time. All functions throw StoreError that begins with
// where the server is, and never shows the password: StatesUnavailable when the server is not
// there, keeps silent, or says that it cannot serve at present.
class RedisConnection {
 public:
  // Connects, logs in and chooses the database.
  RedisConnection(const RedisUrl& url, RedisWait& wait);
  // For who waits anew, for as long again, with every command.
  RedisConnection(const RedisUrl& url, RedisWait&& wait);

  // Sends a command and waits for its answer, which is no error. When the connection breaks, or the
  // answer does not come, whether the command was carried out is not known.
  RedisReply command(std::span<const std::string_view> words, RedisWait& wait);
  RedisReply command(std::span<const std::string_view> words);

  // Whether it can carry another command, as far as one knows without asking the server.
  bool usable() const;

 private:
  RedisReply exchange(std::span<const std::string_view> words, RedisWait& wait);
  void send(std::string_view text, RedisWait& wait);
  RedisReply read_reply(RedisWait& wait);
  void wait_until_ready(short events, const RedisWait& wait, const char* doing);
  void log_in(const RedisUrl& url, RedisWait& wait);
  [[noreturn]] void broken(const char* doing, const std::string& why);
  [[noreturn]] void silent(const char* doing, double seconds);
  [[noreturn]] void fail_by(std::string_view error) const;

  const std::string where_;
  const double timeout_s_;
  bool broken_ = false;
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
};

// The connections of a process: as many as are needed at once, the idle ones kept. May be used by
// many threads. After a call that has waited in vain others fail at once, but one a second.
class RedisPool {
 public:
  // `timeout_s`: how long a call may wait, counted from when its request came (arrival.h).
  RedisPool(const RedisUrl& url, double timeout_s) : url_(url), timeout_s_(timeout_s) {}

  // On an idle connection that still stands, or on a new one: a server that was gone and is back is
  // found again.
  RedisReply command(std::span<const std::string_view> words);

  std::string where() const { return url_.where(); }

 private:
  double patience() const;
  std::unique_ptr<RedisConnection> take(RedisWait& wait);
  RedisReply try_command(std::span<const std::string_view> words, RedisWait& wait);

  const RedisUrl url_;
  const double timeout_s_;
  Breaker breaker_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<RedisConnection>> idle_;
};

}  // namespace anser
