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

namespace anser {
namespace {

constexpr size_t kMaxIdle = 16;  // connections

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

}  // namespace

RedisConnection::RedisConnection(const RedisUrl& url, double timeout_s)
    : where_(url.where()), timeout_s_(timeout_s), context_(nullptr, redisFree) {
  const timeval timeout = to_timeval(timeout_s);
  context_.reset(redisConnectWithTimeout(url.host.c_str(), url.port, timeout));
  if (context_ == nullptr) throw std::bad_alloc();
  if (context_->err != 0) broken("cannot connect");
  redisSetTimeout(context_.get(), timeout);
  redisEnableKeepAlive(context_.get());
  log_in(url);
}

void RedisConnection::log_in(const RedisUrl& url) {
  if (!url.password.empty()) {
    std::vector<std::string_view> words = {"AUTH"};
    if (!url.user.empty()) words.push_back(url.user);
    words.push_back(url.password);
    const RedisReply reply = exchange(words);
    if (reply->type == REDIS_REPLY_ERROR) {
      // Its first word only: the rest may repeat what was sent.
      const std::string_view error = text_of(*reply);
      fail(where_, "Redis does not accept the user and password that it was given: {}",
           printable(error.substr(0, error.find(' '))));
    }
  }
  if (url.database != 0) {
    const std::string database = std::to_string(url.database);
    const std::string_view words[] = {"SELECT", database};
    command(words);
  }
}

void RedisConnection::broken(const char* doing) {
  broken_ = true;
  const bool silent = context_->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
  const std::string why =
      silent ? fmt::format("Redis has been silent for {} s", timeout_s_)
             : fmt::format("{}; is Redis running there?", std::string_view(context_->errstr));
  const std::string told = fmt::format("{}: {}", doing, why);
  throw StatesUnavailable(fmt::format("{}: {}", where_, told), told);
}

RedisReply RedisConnection::exchange(std::span<const std::string_view> words) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string_view word : words) {
    texts.push_back(word.data() == nullptr ? "" : word.data());
    sizes.push_back(word.size());
  }
  char* text = nullptr;
  const int size = redisFormatCommandArgv(&text, int(words.size()), texts.data(), sizes.data());
  if (size < 0) throw std::bad_alloc();
  const std::unique_ptr<char, void (*)(char*)> owner(text, [](char* p) { redisFreeCommand(p); });
  // Not by hiredis: a server that is gone would end the program by SIGPIPE.
  for (int sent = 0; sent < size;) {
    const ssize_t n = ::send(context_->fd, text + sent, size_t(size - sent), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      context_->err = REDIS_ERR_IO;
      std::snprintf(context_->errstr, sizeof(context_->errstr), "%s", std::strerror(errno));
      broken("cannot send");
    }
    sent += int(n);
  }
  void* reply = nullptr;
  errno = 0;
  if (redisGetReply(context_.get(), &reply) != REDIS_OK) broken("no answer");
  return RedisReply(static_cast<redisReply*>(reply), freeReplyObject);
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
  RedisReply reply = exchange(words);
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

std::unique_ptr<RedisConnection> RedisPool::take() {
  {
    const std::lock_guard guard(mutex_);
    while (!idle_.empty()) {
      std::unique_ptr<RedisConnection> connection = std::move(idle_.back());
      idle_.pop_back();
      if (connection->usable()) return connection;
    }
  }
  return std::make_unique<RedisConnection>(url_, timeout_s_);
}

RedisReply RedisPool::command(std::span<const std::string_view> words) {
  std::unique_ptr<RedisConnection> connection = take();
  const auto give_back = [&] {
    const std::lock_guard guard(mutex_);
    if (connection->usable() && idle_.size() < kMaxIdle) idle_.push_back(std::move(connection));
  };
  try {
    RedisReply reply = connection->command(words);
    give_back();
    return reply;
  } catch (const Error&) {
    give_back();  // if it is Redis that complains, not the network
    throw;
  }
}

}  // namespace anser
