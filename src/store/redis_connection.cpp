#include "store/redis_connection.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "formats/checks.h"
#include "store/arrival.h"

namespace anser {
namespace {

constexpr size_t kMaxIdle = 16;           // connections
constexpr double kBytesForASecond = 1e6;  // a network that is slower counts as silent
// Between two looks at whether others have waited in vain.
constexpr double kLookSeconds = 0.05;
// However long a request has waited already: a server that is well answers within that.
constexpr double kLeastSeconds = 0.5;

timeval to_timeval(double seconds) {
  const double whole = std::floor(seconds);
  return {time_t(whole), suseconds_t((seconds - whole) * 1e6)};
}

std::string_view text_of(const redisReply& reply) {
  return {reply.str, reply.len};
}

// What there is to do, as far as it can be told.
const char* advice(std::string_view error) {
  if (error.starts_with("OOM")) {
    return "; it is full: remove states, raise its maxmemory, or let it evict the states without a "
           "name or tag (maxmemory-policy volatile-lru)";
  }
  if (error.starts_with("NOAUTH")) return "; give redis://user:password@host";
  if (error.starts_with("NOPERM")) return "; its user may not do what a store of states does";
  if (error.starts_with("LOADING")) return "; it is starting, try again in a moment";
  if (error.starts_with("READONLY")) return "; it is a replica: give the address of the primary";
  if (error.starts_with("MISCONF")) return "; it cannot write to its disk";
  return "";
}

// Whether an error is about the server's condition, and not about what it was asked.
bool passes(std::string_view error) {
  constexpr std::string_view kBeginnings[] = {
      "LOADING", "READONLY", "MISCONF", "MASTERDOWN", "BUSY", "ERR max number of clients"};
  return std::any_of(std::begin(kBeginnings), std::end(kBeginnings),
                     [&](std::string_view beginning) { return error.starts_with(beginning); });
}

// As people are told it: clocks and time-outs differ by a hundredth.
double tenths(double seconds) {
  return std::round(seconds * 10) / 10;
}

}  // namespace

RedisWait::RedisWait(double seconds, const Breaker* breaker)
    : seconds_(seconds),
      end_(Clock::now() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))),
      breaker_(breaker),
      in_vain_(breaker == nullptr ? 0 : breaker->in_vain()) {}

double RedisWait::left() const {
  return std::max(0.0, std::chrono::duration<double>(end_ - Clock::now()).count());
}

void RedisWait::moved(size_t bytes) {
  end_ += std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(double(bytes) / kBytesForASecond));
}

RedisWait::End RedisWait::until_ready(int fd, short events) const {
  for (;;) {
    const double left_s = left();
    pollfd socket = {fd, events, 0};
    const int ms = int(std::ceil(1000 * std::min(left_s, kLookSeconds)));
    if (::poll(&socket, 1, ms) > 0) return End::ready;
    if (left_s == 0) return End::over;
    if (breaker_ != nullptr && breaker_->in_vain() != in_vain_) return End::given_up;
  }
}

RedisConnection::RedisConnection(const RedisUrl& url, RedisWait& wait)
    : where_(url.where()), timeout_s_(wait.seconds()), context_(nullptr, redisFree) {
  const timeval timeout = to_timeval(std::max(wait.left(), 1e-3));
  context_.reset(redisConnectWithTimeout(url.host.c_str(), url.port, timeout));
  if (context_ == nullptr) throw std::bad_alloc();
  if (context_->err != 0) {
    if (wait.left() == 0 || errno == ETIMEDOUT) silent("cannot connect", wait.seconds());
    broken("cannot connect", context_->errstr);
  }
  redisEnableKeepAlive(context_.get());
  log_in(url, wait);
}

RedisConnection::RedisConnection(const RedisUrl& url, RedisWait&& wait)
    : RedisConnection(url, wait) {}

void RedisConnection::log_in(const RedisUrl& url, RedisWait& wait) {
  if (!url.password.empty()) {
    std::vector<std::string_view> words = {"AUTH"};
    if (!url.user.empty()) words.push_back(url.user);
    words.push_back(url.password);
    const RedisReply reply = exchange(words, wait);
    if (reply->type == REDIS_REPLY_ERROR) {
      // Its first word only: the rest may repeat what was sent.
      const std::string_view error = text_of(*reply);
      const std::string told =
          fmt::format("Redis does not accept the user and password that it was given: {}",
                      printable(error.substr(0, error.find(' '))));
      throw StoreFailed(fmt::format("{}: {}", where_, told), told);
    }
  }
  if (url.database != 0) {
    const std::string database = std::to_string(url.database);
    const std::string_view words[] = {"SELECT", database};
    command(words, wait);
  }
}

void RedisConnection::broken(const char* doing, const std::string& why) {
  broken_ = true;
  const std::string told = fmt::format("{}: {}; is Redis running there?", doing, why);
  throw StatesUnavailable(fmt::format("{}: {}", where_, told), told);
}

void RedisConnection::silent(const char* doing, double seconds) {
  broken_ = true;
  const std::string told =
      fmt::format("{}: Redis has been silent for {:g} s", doing, tenths(seconds));
  throw RedisSilent(fmt::format("{}: {}", where_, told), told);
}

void RedisConnection::wait_until_ready(short events, const RedisWait& wait, const char* doing) {
  switch (wait.until_ready(context_->fd, events)) {
    case RedisWait::End::ready:
      return;
    case RedisWait::End::over:
      silent(doing, wait.seconds());
    case RedisWait::End::given_up: {
      broken_ = true;
      const std::string told = fmt::format("{}: others have waited for Redis in vain", doing);
      throw RedisGivenUp(fmt::format("{}: {}", where_, told), told);
    }
  }
}

// Not by hiredis: a server that is gone would end the program by SIGPIPE.
void RedisConnection::send(std::string_view text, RedisWait& wait) {
  while (!text.empty()) {
    const ssize_t n = ::send(context_->fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      wait.moved(size_t(n));
      text.remove_prefix(size_t(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_until_ready(POLLOUT, wait, "cannot send");
    } else if (errno != EINTR) {
      broken("cannot send", std::strerror(errno));
    }
  }
}

// Nor here: its own time begins anew with every byte.
RedisReply RedisConnection::read_reply(RedisWait& wait) {
  constexpr char kDoing[] = "no answer";
  std::vector<char> part(64 * 1024);
  for (;;) {
    void* reply = nullptr;
    if (redisReaderGetReply(context_->reader, &reply) != REDIS_OK) {
      broken(kDoing, context_->reader->errstr);
    }
    if (reply != nullptr) return RedisReply(static_cast<redisReply*>(reply), freeReplyObject);
    const ssize_t n = ::recv(context_->fd, part.data(), part.size(), MSG_DONTWAIT);
    if (n > 0) {
      wait.moved(size_t(n));
      if (redisReaderFeed(context_->reader, part.data(), size_t(n)) != REDIS_OK) {
        throw std::bad_alloc();
      }
    } else if (n == 0) {
      broken(kDoing, "Server closed the connection");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_until_ready(POLLIN, wait, kDoing);
    } else if (errno != EINTR) {
      broken(kDoing, std::strerror(errno));
    }
  }
}

RedisReply RedisConnection::exchange(std::span<const std::string_view> words, RedisWait& wait) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string_view word : words) {
    texts.push_back(word.data() == nullptr ? "" : word.data());
    sizes.push_back(word.size());
  }
  char* text = nullptr;
  const long long size =
      redisFormatCommandArgv(&text, int(words.size()), texts.data(), sizes.data());
  if (size < 0) throw std::bad_alloc();
  const std::unique_ptr<char, void (*)(char*)> owner(text, [](char* p) { redisFreeCommand(p); });
  send({text, size_t(size)}, wait);
  return read_reply(wait);
}

// By whose fault Redis refuses.
void RedisConnection::fail_by(std::string_view error) const {
  const std::string told = fmt::format("Redis answers {}{}", printable(error), advice(error));
  const std::string what = fmt::format("{}: {}", where_, told);
  if (error.starts_with("OOM")) throw StoreFull(what, told);
  if (passes(error)) throw StatesUnavailable(what, told);
  throw StoreFailed(what, told);
}

RedisReply RedisConnection::command(std::span<const std::string_view> words) {
  RedisWait wait(timeout_s_);
  return command(words, wait);
}

RedisReply RedisConnection::command(std::span<const std::string_view> words, RedisWait& wait) {
  RedisReply reply = exchange(words, wait);
  if (reply->type == REDIS_REPLY_ERROR) {
    const std::string_view error = text_of(*reply);
    fail_by(error);
  }
  return reply;
}

bool RedisConnection::usable() const {
  if (broken_) return false;
  // Nothing is asked, so there is nothing to be read but the end.
  pollfd end = {context_->fd, POLLIN, 0};
  return ::poll(&end, 1, 0) == 0;
}

std::unique_ptr<RedisConnection> RedisPool::take(RedisWait& wait) {
  {
    const std::lock_guard guard(mutex_);
    while (!idle_.empty()) {
      std::unique_ptr<RedisConnection> connection = std::move(idle_.back());
      idle_.pop_back();
      if (connection->usable()) return connection;
    }
  }
  return std::make_unique<RedisConnection>(url_, wait);
}

RedisReply RedisPool::try_command(std::span<const std::string_view> words, RedisWait& wait) {
  std::unique_ptr<RedisConnection> connection = take(wait);
  const auto give_back = [&] {
    const std::lock_guard guard(mutex_);
    if (connection->usable() && idle_.size() < kMaxIdle) idle_.push_back(std::move(connection));
  };
  try {
    RedisReply reply = connection->command(words, wait);
    give_back();
    return reply;
  } catch (const Error&) {
    give_back();  // if it is Redis that complains, not the network
    throw;
  }
}

// Seconds.
double RedisPool::patience() const {
  const std::optional<Arrival::Time> came = Arrival::of_this_thread();
  if (!came) return timeout_s_;
  const std::chrono::duration<double> ago = std::chrono::steady_clock::now() - *came;
  return std::clamp(timeout_s_ - ago.count(), std::min(kLeastSeconds, timeout_s_), timeout_s_);
}

RedisReply RedisPool::command(std::span<const std::string_view> words) {
  if (!breaker_.admits()) {
    const std::string told =
        fmt::format("Redis has been silent for {:g} s; it is asked again within a second or so",
                    tenths(breaker_.seconds()));
    throw StatesUnavailable(fmt::format("{}: {}", url_.where(), told), told);
  }
  RedisWait wait(patience(), &breaker_);
  try {
    RedisReply reply = try_command(words, wait);
    breaker_.answered();
    return reply;
  } catch (const RedisSilent&) {
    breaker_.gave_up(wait.seconds());
    throw;
  } catch (const RedisGivenUp&) {
    throw;  // it has heard nothing: only of those who have waited in vain
  } catch (...) {
    breaker_.answered();
    throw;
  }
}

}  // namespace anser
