// What a server and its connections share. It lives as long as any of them.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "server/http/options.h"
#include "server/http/server.h"

namespace anser::http {

class Connection;

struct Core {
  Core(Options o, Handler h)
      : options(std::make_shared<const Options>(std::move(o))),
        handler(std::move(h)),
        io(options->threads) {}

  void fault(const std::string& what) const {
    if (options->on_fault) options->on_fault(what);
  }

  const std::shared_ptr<const Options> options;
  const Handler handler;
  boost::asio::io_context io;
  const std::shared_ptr<std::atomic<bool>> stopping = std::make_shared<std::atomic<bool>>(false);
  // Of all requests that are being received, or whose Request somebody still has.
  const std::shared_ptr<std::atomic<uint64_t>> body_bytes =
      std::make_shared<std::atomic<uint64_t>>(0);

  // Every connection that exists. They enter and leave by themselves.
  std::mutex mutex;
  std::condition_variable left;
  std::unordered_set<Connection*> connections;
};

}  // namespace anser::http
