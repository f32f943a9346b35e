// Keys, their holders, files of them; and who is one client.
#include "server/api_keys.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "anser/error.h"
#include "server/client.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using support::TempDir;

std::string holder(const ApiKeys& keys, std::string_view key) {
  const std::string* name = keys.holder(key);
  return name == nullptr ? "nobody" : *name;
}

TEST(ApiKeys, HaveHolders) {
  ApiKeys keys{"first", "second"};
  keys.add("third", "alice");
  keys.add("fourth", "alice");
  keys.add("fourth", "alice");
  EXPECT_EQ(keys.names(), (std::vector<std::string>{"key-1", "key-2", "alice"}));
  EXPECT_EQ(holder(keys, "first"), "key-1");
  EXPECT_EQ(holder(keys, "third"), "alice");
  EXPECT_EQ(holder(keys, "fourth"), "alice");
  for (const char* other : {"", "firs", "first ", "firstfirst", "FIRST", "alice"}) {
    EXPECT_EQ(holder(keys, other), "nobody") << other;
  }
  EXPECT_EQ(keys.counts()[2].requests, 2u);
  EXPECT_EQ(keys.refused(), 6u);
}

TEST(ApiKeys, BadOnesAreRefused) {
  ApiKeys keys{"first"};
  for (const char* key : {"", " ", "\t", " x", "x ", "a\nb", "a\tb", "first"}) {
    EXPECT_THROW(keys.add(key), Error) << key;
  }
  EXPECT_THROW(keys.add("first", "alice"), Error);
  for (const char* name : {"a b", "a\"", "a/b", "a\n"}) EXPECT_THROW(keys.add("x", name), Error);
  EXPECT_THROW(keys.add("x", std::string(101, 'a')), Error);
  EXPECT_EQ(keys.names().size(), 1u);
}

TEST(ApiKeys, OfAFile) {
  const TempDir folder;
  const std::string path = folder / "keys";
  support::write_file(path, "# people\n\nalice\tsk-1\r\n  bob   sk-2  \nsk-3\nalice sk-4");
  std::filesystem::permissions(path, std::filesystem::perms(0600));
  ApiKeys keys;
  EXPECT_FALSE(keys.add_file(path));
  EXPECT_EQ(keys.names(), (std::vector<std::string>{"alice", "bob", "key-3"}));
  EXPECT_EQ(holder(keys, "sk-4"), "alice");
  EXPECT_EQ(holder(keys, "sk-3"), "key-3");
  std::filesystem::permissions(path, std::filesystem::perms(0604));
  EXPECT_TRUE(ApiKeys().add_file(path));
  EXPECT_THROW(ApiKeys().add_file(folder / "none"), Error);
  EXPECT_THROW(ApiKeys().add_file(std::filesystem::path(path).parent_path()), Error);
  support::write_file(path, std::string((1 << 20) + 1, 'x'));
  EXPECT_THROW(ApiKeys().add_file(path), Error);
}

TEST(Client, OfAPeerIsAnAddressOrANetwork) {
  EXPECT_EQ(client_of_peer("192.0.2.7"), "peer:192.0.2.7");
  EXPECT_EQ(client_of_peer("::ffff:192.0.2.7"), "peer:192.0.2.7");
  EXPECT_EQ(client_of_peer("2001:db8:1:2:3:4:5:6"), "peer:2001:db8:1:2::/64");
  EXPECT_EQ(client_of_peer("2001:db8:1:2::9"), client_of_peer("2001:db8:1:2:ffff::"));
  EXPECT_NE(client_of_peer("2001:db8:1:2::9"), client_of_peer("2001:db8:1:3::9"));
  EXPECT_EQ(client_of_peer("fe80::1%eth0"), "peer:fe80::/64");
  EXPECT_EQ(client_of_peer("::1"), "peer:::1");
  EXPECT_NE(client_of_holder("a"), client_of_peer("a"));
}

}  // namespace
}  // namespace anser
