// How a Server listens, and what it bears from a client.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http/headers.h"
#include "server/http/load.h"

namespace anser::http {

using std::chrono::milliseconds;

// What an error's reply carries; the status stands in its head.
struct ErrorBody {
  std::string content_type;
  std::string text;
};

struct Request;

// Why a request is not served.
struct Refusal {
  int status;
  std::string message;
  Headers fields = {};  // of the answer, beside those of all
};

struct Options {
  std::string host = "127.0.0.1";  // a name or an address; 0.0.0.0 or :: is every interface
  uint16_t port = 8080;            // 0: the system picks one, see Server::port
  int threads = 2;                 // they read, call the handler, and write

  // Beyond a limit the client is told so with the status on the right, and the connection is
  // closed.
  uint32_t header_bytes = 16 << 10;     // request line and header fields              431
  uint64_t body_bytes = 16 << 20;       // one body                                    413
  uint64_t all_body_bytes = 256 << 20;  // bodies received and worked on, all together 503
  int connections = 1024;               // open at once (server.cpp, kMayWait)         503
  milliseconds read_timeout{30'000};    // from a request's first byte to its last     408
  milliseconds idle_timeout{60'000};    // before the first byte, or the next request: closed
  milliseconds write_timeout{30'000};   // without the client taking a byte: cut off
  // A stream with so many bytes waiting for its client is cut off at the next write.
  uint64_t stream_backlog_bytes = 1 << 20;
  // All answers that wait for their clients, together: beyond it those of slow clients are cut off,
  // or else new ones refused with 503 (send_budget.h).
  uint64_t all_answer_bytes = 256 << 20;

  // Where all of this is counted.
  std::shared_ptr<Load> load = std::make_shared<Load>();

  // Makes the body of every error that this layer answers by itself, and of Reply::error. Called
  // from any thread. Without one: the message as plain text.
  std::function<ErrorBody(int status, const std::string& message)> error_body;

  // Asked when a request's header is complete, before any of its body is waited for: what comes
  // back is the answer, and the connection is closed. Called from any thread. Without one: none is
  // refused.
  using AskRefusal = std::function<std::optional<Refusal>(const Request& header)>;
  AskRefusal refusal;

  // The same, asked after it where a body is to come: what the handler would answer whatever the
  // body is. So neither is it waited for, nor does "100 Continue" ask for it. A request without a
  // body is left to the handler, whose answer does not end the connection.
  AskRefusal body_refusal;

  // Fields of every answer, also of this layer's own errors, beside those of the answer itself,
  // which count where both have one. Not `whole`: of the header only so much had come when it was
  // refused. Called from any thread.
  std::function<Headers(const Request& header, bool whole)> answer_fields;

  // Hears what went wrong on our side: what a handler threw. Called from any thread; never with
  // anything that a client sent.
  std::function<void(const std::string& what)> on_fault;
};

}  // namespace anser::http
