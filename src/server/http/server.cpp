#include "server/http/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <future>
#include <thread>
#include <vector>

#include "anser/error.h"
#include "base/check.h"
#include "base/start_threads.h"
#include "base/with_patience.h"
#include "server/http/connection.h"
#include "server/http/core.h"

namespace anser::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

// So many connections beyond the limit are told so at a time; more are closed without a word.
constexpr size_t kRefusedAtOnce = 64;

// Where all places are taken, a connection keeps its own for so long without a whole request, or
// without its client taking a byte of the answer. After that a newcomer gets the place of the one
// that has waited longest: some hundred clients that send a byte now and then, or read none, must
// not keep out all others.
constexpr milliseconds kMayWait{1000};

// After accepting failed, which is for want of file descriptors or memory.
constexpr milliseconds kAcceptAgain{100};

// Returns the port.
uint16_t open_listener(tcp::acceptor& acceptor, const Options& options) {
  ErrorCode error;
  tcp::resolver resolver(acceptor.get_executor());
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) {
    throw Error(
        fmt::format("cannot listen on host \"{}\": {}; give a name or an address of this machine",
                    options.host, error.message()));
  }
  uint16_t port = 0;
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) port = acceptor.local_endpoint(error).port();
  if (error) {
    throw Error(fmt::format("cannot listen on {} port {}: {}", options.host, options.port,
                            error.message()));
  }
  return port;
}

}  // namespace

void check_address(const Options& options) {
  asio::io_context io;
  tcp::acceptor acceptor(io);
  open_listener(acceptor, options);
}

struct Server::Impl {
  Impl(Options options, Handler handler)
      : core(std::make_shared<Core>(std::move(options), std::move(handler))),
        work(core->io.get_executor()),
        acceptor(asio::make_strand(core->io)),
        pause(acceptor.get_executor()) {
    const size_t most = size_t(core->options->connections) + kRefusedAtOnce;
    for (size_t i = 0; i < std::min<size_t>(most, 4096); ++i) {
      strands.push_back(asio::make_strand(core->io));
    }
  }

  void bind();
  void serve();
  void recover();
  void accept();
  void accept_later();
  void take(tcp::socket socket);
  std::vector<std::shared_ptr<Connection>> connections();
  std::shared_ptr<Connection> longest_waiting();  // longer than it may; none: nullptr
  bool wait_until_empty(std::chrono::steady_clock::time_point deadline);

  const std::shared_ptr<Core> core;
  // Until stop() has told the last connection: what is queued after the threads have gone would
  // keep its connection for ever.
  asio::executor_work_guard<asio::io_context::executor_type> work;
  tcp::acceptor acceptor;    // on a strand of its own
  asio::steady_timer pause;  // after accepting failed
  // Of connections, in turn. Made before they are needed: where there is no memory Asio (1.74) does
  // not survive making one.
  std::vector<asio::strand<asio::io_context::executor_type>> strands;
  size_t next_strand = 0;
  uint16_t port = 0;
  std::vector<std::jthread> threads;
  bool started = false;
};

void Server::Impl::bind() {
  port = open_listener(acceptor, *core->options);
}

void Server::Impl::serve() {
  for (;;) {
    try {
      core->io.run();
      return;
    } catch (const std::exception& error) {  // of one connection, which is closed by that
      core->fault(error.what());
    } catch (...) {
      core->fault("something that is no exception was thrown");
    }
    recover();
  }
}

// What an exception has ended may have been the wait for the next connection: Asio, too, needs
// memory before it calls anybody.
void Server::Impl::recover() {
  try {
    with_patience([&] {
      asio::post(acceptor.get_executor(), [this] {
        if (!acceptor.is_open()) return;
        ErrorCode ignored;
        acceptor.cancel(ignored);
        accept();
      });
    });
  } catch (const std::exception& error) {
    core->fault(error.what());
  }
}

void Server::Impl::accept() {
  const auto taken = [this](const ErrorCode& error, tcp::socket socket) {
    if (!acceptor.is_open() || error == asio::error::operation_aborted) return;
    try {
      if (!error) {
        take(std::move(socket));
        return accept();
      }
    } catch (const std::exception& failure) {  // this one is closed; the next is accepted
      core->fault(failure.what());
    }
    accept_later();
  };
  const auto& strand = strands[next_strand++ % strands.size()];
  with_patience([&] { acceptor.async_accept(strand, taken); });
}

void Server::Impl::accept_later() {
  with_patience([&] {
    pause.expires_after(kAcceptAgain);
    pause.async_wait([this](const ErrorCode& cancelled) {
      if (!cancelled && acceptor.is_open()) accept();
    });
  });
}

void Server::Impl::take(tcp::socket socket) {
  size_t open = 0;
  {
    const std::lock_guard lock(core->mutex);
    open = core->connections.size();
  }
  const size_t limit = size_t(core->options->connections);
  if (open >= limit + kRefusedAtOnce) return;
  const auto connection = std::make_shared<Connection>(core, std::move(socket));
  if (open < limit) return connection->start();
  const std::shared_ptr<Connection> other = longest_waiting();
  if (!other) return connection->refuse();
  other->give_way();
  connection->start();
}

std::shared_ptr<Connection> Server::Impl::longest_waiting() {
  std::shared_ptr<Connection> longest;
  auto since = std::chrono::steady_clock::now() - kMayWait;
  for (const auto& connection : connections()) {
    if (connection->waiting_since() >= since) continue;
    since = connection->waiting_since();
    longest = connection;
  }
  return longest;
}

std::vector<std::shared_ptr<Connection>> Server::Impl::connections() {
  std::vector<std::shared_ptr<Connection>> result;
  const std::lock_guard lock(core->mutex);
  for (Connection* connection : core->connections) {
    if (auto shared = connection->weak_from_this().lock()) result.push_back(std::move(shared));
  }
  return result;
}

bool Server::Impl::wait_until_empty(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(core->mutex);
  return core->left.wait_until(lock, deadline, [&] { return core->connections.empty(); });
}

Server::Server(Options options, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {}

Server::~Server() {
  stop(milliseconds(0));
}

void Server::start() {
  ANSER_CHECK(!impl_->started);
  impl_->bind();
  impl_->started = true;
  impl_->accept();
  const std::shared_ptr<Core>& core = impl_->core;
  start_threads(
      impl_->threads, core->options->threads, [this](int) { impl_->serve(); },
      [core] { core->io.stop(); });
}

uint16_t Server::port() const {
  return impl_->port;
}

uint32_t Server::connections() const {
  const std::lock_guard lock(impl_->core->mutex);
  return uint32_t(impl_->core->connections.size());
}

void Server::stop(milliseconds patience) {
  if (impl_->threads.empty()) return;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  *impl_->core->stopping = true;
  std::promise<void> closed;  // from here on there are no new connections
  asio::post(impl_->acceptor.get_executor(), [&] {
    ErrorCode ignored;
    impl_->acceptor.close(ignored);
    impl_->pause.cancel();
    closed.set_value();
  });
  closed.get_future().wait();
  for (const auto& connection : impl_->connections()) connection->drain();
  if (!impl_->wait_until_empty(deadline)) {
    for (const auto& connection : impl_->connections()) connection->cut();
  }
  impl_->work.reset();
  impl_->threads.clear();  // which waits for them
}

}  // namespace anser::http
