// The answer to one request.
//
// A handler may keep the Reply and answer later, from any thread; every call may come from any
// thread, and none waits for the network. What is written is queued, and an io thread sends it.
//
//     reply->send(200, "application/json", "{}");          one body
//
//     reply->begin(200, "text/event-stream");              or a stream
//     while (... && reply->write("data: ...\n\n")) ...
//     reply->end();
//
// A client that goes away is noticed at once, also while its request waits and nothing is written:
// closed() is then true, on_close has been called, and all that is written is dropped. A client
// that has only said that it will send no more (a half-close, shutdown(SHUT_WR)) is still served,
// as many of them read on. To tell it from one that has closed its socket, which looks the same
// until something is sent, something harmless is sent: "100 Continue" before the reply's first
// byte, inside of a stream a leading zero of the next chunk's size. A closed socket answers with a
// reset.
//
// The last reference that goes without having answered answers: 500 if nothing was sent yet, else
// the connection is cut, so that a stream that was not ended never looks complete.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/headers.h"

namespace anser::http {

class Exchange;

class Reply {
 public:
  explicit Reply(std::shared_ptr<Exchange> exchange);
  ~Reply();
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  // The whole answer, which waits in memory: 503 in its place if there is no room for it in
  // Options::all_answer_bytes. Content-Length, Connection, Date and X-Content-Type-Options are
  // added. Throws anser::Error when a field holds what cannot stand in one (line ends).
  void send(int status, std::string_view content_type, std::string_view body,
            const Headers& more = {});

  // An error of which the Options' error_body makes the body. In the midst of a stream, which
  // cannot say so any more, the connection is cut; after a complete answer nothing happens.
  void error(int status, const std::string& message, const Headers& more = {});

  // Begins a stream: chunked, or for HTTP/1.0 ended by closing, or of a length that is known. The
  // head is sent at once. A stream that ends before its length is cut.
  void begin(int status, std::string_view content_type, const Headers& more = {},
             std::optional<uint64_t> length = {});
  // One chunk; nothing when empty. False when the client is gone, or was cut off because more than
  // Options::stream_backlog_bytes were waiting for it: memory is bounded by that and one chunk, and
  // that of all answers by Options::all_answer_bytes.
  bool write(std::string_view chunk);
  void end();

  // `drained` is called once, when the system has taken all that was written: by an io thread,
  // which it must not hold up, or by this call if nothing waits. It is dropped if the client goes
  // before. So a stream of any length is written in pieces that never wait together.
  void on_drained(std::function<void()> drained);
  // Counts what a stream needs in memory, its writer's and what waits for the client together, in
  // Options::all_answer_bytes, until it is sent or its client gone. Nothing that is written is
  // refused for want of room as long as no more waits. False: there is no room.
  bool reserve(uint64_t bytes);
  // The request's method was not HEAD: what is written is not dropped.
  bool wants_body() const;

  // The client is gone or was cut off.
  bool closed() const;

  // `gone` is called once, when the client goes before the answer is complete (send, end): by an io
  // thread, or by this call if it has gone already. It must not wait. Takes the place of the one
  // before; it is dropped, and what it holds is freed, when the answer is complete.
  void on_close(std::function<void()> gone);

  // Bytes that are queued here, not yet taken by the system: a client that reads in time has 0.
  uint64_t pending() const;

 private:
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace anser::http
