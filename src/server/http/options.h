// How a Server listens, and what it bears from a client.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace anser::http {

using std::chrono::milliseconds;

// What an error's reply carries; the status stands in its head.
struct ErrorBody {
  std::string content_type;
  std::string text;
};

struct Options {
  std::string host = "127.0.0.1";  // a name or an address; 0.0.0.0 or :: is every interface
  uint16_t port = 8080;            // 0: the system picks one, see Server::port
  int threads = 2;                 // they read, call the handler, and write

  // Beyond a limit the client is told so with the status on the right, and the connection is
  // closed.
  uint32_t header_bytes = 16 << 10;     // request line and header fields              431
  uint64_t body_bytes = 16 << 20;       // one body                                    413
  uint64_t all_body_bytes = 256 << 20;  // bodies being received or worked on          503
  int connections = 1024;               // open at once                                503
  milliseconds read_timeout{30'000};    // from a request's first byte to its last     408
  milliseconds idle_timeout{60'000};    // before the first byte, or the next request: closed
  milliseconds write_timeout{30'000};   // without the client taking a byte: cut off
  // A stream with so many bytes waiting for its client is cut off at the next write.
  uint64_t stream_backlog_bytes = 1 << 20;

  // Makes the body of every error that this layer answers by itself, and of Reply::error. Called
  // from any thread. Without one: the message as plain text.
  std::function<ErrorBody(int status, const std::string& message)> error_body;

  // Hears what went wrong on our side: what a handler threw. Called from any thread; never with
  // anything that a client sent.
  std::function<void(const std::string& what)> on_fault;
};

}  // namespace anser::http
