// A real redis-server for a test: on a loopback port, without persistence, gone with the test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "support/temp_dir.h"

namespace support {

class RedisServer {
 public:
  // Whether Debian's redis-server, or another one, is on the PATH.
  static bool installed();

  // `settings`: more of the command line, such as {"--requirepass", "secret"}. Waits until the
  // server answers; throws std::runtime_error with its log when it does not.
  explicit RedisServer(const std::vector<std::string>& settings = {});
  ~RedisServer() { stop(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  int port() const { return port_; }
  std::string url(const std::string& who = "") const {
    return "redis://" + who + "127.0.0.1:" + std::to_string(port_);
  }

  // Ends it at once, as kill -9 does; all that it held is gone. start() brings up an empty one at
  // the same port.
  void stop();
  void start();
  // It keeps its connections and says nothing.
  void freeze();
  void thaw();

 private:
  bool answers() const;

  const TempDir dir_;
  const std::vector<std::string> settings_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace support
