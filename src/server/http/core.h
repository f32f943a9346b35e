// What a server and its connections share. It lives as long as any of them.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "server/http/options.h"
#include "server/http/send_budget.h"
#include "server/http/server.h"

namespace anser::http {

class Connection;

struct Core {
  Core(Options o, Handler h)
      : options(std::make_shared<const Options>(std::move(o))),
        handler(std::move(h)),
        send_budget(std::make_shared<SendBudget>(options->all_answer_bytes, options->load)),
        io(options->threads) {}

  void fault(const char* what) const noexcept {
    try {
      if (options->on_fault) options->on_fault(what);
    } catch (const std::exception&) {
      // There is not even memory to say so.
    }
  }

  const std::shared_ptr<const Options> options;
  const Handler handler;
  const std::shared_ptr<SendBudget> send_budget;
  boost::asio::io_context io;
  const std::shared_ptr<std::atomic<bool>> stopping = std::make_shared<std::atomic<bool>>(false);

  // Every connection that exists. They enter and leave by themselves.
  std::mutex mutex;
  std::condition_variable left;
  std::unordered_set<Connection*> connections;
};

}  // namespace anser::http
