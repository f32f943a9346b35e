// An HTTP/1.1 server: connections in, Requests out, Replies back. Knows nothing of language models.
//
//     Server server({.port = 8080}, [](Request request, std::shared_ptr<Reply> reply) {
//       reply->send(200, "text/plain", "hello\n");
//     });
//     server.start();  ...  server.stop(10s);
//
// A few threads serve all connections, none of which costs a thread or a buffer while it waits: 500
// streams cost as many threads as one. HTTP/1.0 and 1.1, keep-alive, pipelined requests one after
// the other, HEAD, "Expect: 100-continue", chunked bodies both ways. No TLS: that is a proxy's
// work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "server/http/options.h"
#include "server/http/reply.h"
#include "server/http/request.h"

namespace anser::http {

// Called by one of the server's threads, which meanwhile serves nobody else: parse, hand over,
// return. It may be called by several threads at a time. What it throws is told to
// Options::on_fault, and the request is answered with 500, or cut off if its stream had begun, once
// the last reference to its Reply is gone.
using Handler = std::function<void(Request, std::shared_ptr<Reply>)>;

// Throws what Server::start() would if it cannot listen there.
void check_address(const Options& options);

class Server {
 public:
  Server(Options options, Handler handler);
  ~Server();  // stop(0)
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds, listens, starts the threads. Throws anser::Error when it cannot. Once.
  void start();

  uint16_t port() const;         // after start(): the port that is listened on
  uint32_t connections() const;  // open now

  // Accepts no more, closes what waits for a request, lets running answers finish for so long, cuts
  // off the rest (their on_close is called) and joins the threads. Replies may outlive the server;
  // they are closed then. Not from one of its own threads. A second call does nothing.
  void stop(milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace anser::http
