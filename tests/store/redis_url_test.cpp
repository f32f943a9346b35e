#include "store/redis_url.h"

#include <gtest/gtest.h>

#include "support/errors.h"

namespace anser {
namespace {

using namespace support;

TEST(RedisUrl, HasAllPartsOrDefaults) {
  RedisUrl url = parse_redis_url("redis://example.org");
  EXPECT_EQ(url.host, "example.org");
  EXPECT_EQ(url.port, 6379);
  EXPECT_EQ(url.user, "");
  EXPECT_EQ(url.password, "");
  EXPECT_EQ(url.database, 0);

  url = parse_redis_url("redis://anna:p%40ss%3aw%2Ford@10.0.0.1:1234/7");
  EXPECT_EQ(url.host, "10.0.0.1");
  EXPECT_EQ(url.port, 1234);
  EXPECT_EQ(url.user, "anna");
  EXPECT_EQ(url.password, "p@ss:w/ord");
  EXPECT_EQ(url.database, 7);
  EXPECT_EQ(url.where(), "redis://10.0.0.1:1234/7");

  url = parse_redis_url("redis://:a@b@[::1]:65535/");
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, 65535);
  EXPECT_EQ(url.user, "");
  EXPECT_EQ(url.password, "a@b");
  EXPECT_EQ(url.where(), "redis://[::1]:65535/0");
  EXPECT_EQ(parse_redis_url("redis://[::1]").host, "::1");
}

TEST(RedisUrl, SaysWhatIsWrongAndKeepsThePassword) {
  for (const char* rest : {"", ":80", "host:", "host:0", "host:65536", "host:-1", "host:+1",
                           "host:1 ", "host/x", "host/-1", "host/1/2", "[::1", "[::1]x", "[]"}) {
    for (const char* who : {"", "anna:secret@"}) {
      const std::string text = std::string("redis://") + who + rest;
      const std::string error = error_of([&] { parse_redis_url(text); });
      EXPECT_NE(error.find("expected redis://"), std::string::npos) << text << ": " << error;
      EXPECT_EQ(error.find("secret"), std::string::npos) << error;
    }
  }
  for (const char* text : {"redis://secret@host", "redis://anna:@host", "redis://a:secret%4@host",
                           "redis://a:secret%zz@host", "redis://a:%-1secret@host",
                           "redis:/a:secret@host", "http://a:secret@host", "redis://anna:secret"}) {
    const std::string error = error_of([&] { parse_redis_url(text); });
    EXPECT_NE(error.find("expected redis://"), std::string::npos) << text << ": " << error;
    EXPECT_EQ(error.find("secret"), std::string::npos) << error;
  }
  expect_error({"TLS", "stunnel"}, [] { parse_redis_url("rediss://host"); });
}

TEST(RedisUrl, IsToldFromAFolder) {
  EXPECT_TRUE(is_redis_url("redis://host"));
  EXPECT_TRUE(is_redis_url("rediss://host"));
  EXPECT_TRUE(is_redis_url("redis:host"));
  EXPECT_FALSE(is_redis_url("redis"));
  EXPECT_FALSE(is_redis_url("./redis://host"));
  EXPECT_FALSE(is_redis_url("/var/lib/anser"));
}

}  // namespace
}  // namespace anser
