// What a test does to a Redis server behind the store's back.
#pragma once

#include <hiredis/hiredis.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "store/redis_connection.h"
#include "support/redis_server.h"

namespace support {

class RedisClient {
 public:
  explicit RedisClient(const std::string& url)
      : connection_(anser::parse_redis_url(url), anser::RedisWait(/*seconds=*/20)) {}

  // Texts and numbers as text, nothing as the empty text; of a list its texts.
  std::vector<std::string> list(const std::vector<std::string>& words) {
    const std::vector<std::string_view> views(words.begin(), words.end());
    const anser::RedisReply reply = connection_.command(views);
    if (reply->type != REDIS_REPLY_ARRAY) return {text(*reply)};
    std::vector<std::string> all;
    for (size_t i = 0; i < reply->elements; ++i) all.push_back(text(*reply->element[i]));
    return all;
  }
  std::string operator()(const std::vector<std::string>& words) { return list(words)[0]; }
  std::vector<std::string> keys(const std::string& pattern) {
    std::vector<std::string> all = list({"KEYS", pattern});
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  static std::string text(const redisReply& reply) {
    if (reply.type == REDIS_REPLY_INTEGER) return std::to_string(reply.integer);
    return reply.str == nullptr ? "" : std::string(reply.str, reply.len);
  }

  anser::RedisConnection connection_;
};

}  // namespace support
