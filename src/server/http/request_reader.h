// Bytes of a connection to one Request. Knows no sockets; the grammar is Boost.Beast's.
//
// Stricter than the grammar where two readers of the same bytes could disagree about where a body
// ends, which is how requests are smuggled past a proxy: Content-Length at most once and a plain
// number, Transfer-Encoding nothing but "chunked" and never beside a Content-Length or in HTTP/1.0,
// no field folded over two lines.
// Sizes are counted here, over all pieces that a client cuts a header into: Beast's own limit holds
// for what a piece leaves unread. So the memory that a request takes before its body is bounded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "server/http/request.h"

namespace anser::http {

class RequestReader {
 public:
  // Each costs a hundred bytes here, however short it is; browsers and proxies send thirty.
  static constexpr int kMaxFields = 100;

  // `header_bytes` are for the request line and the fields, for all extensions of a body's chunks
  // together, and for its trailer. So many bytes at the most are left unread by a step:
  static constexpr uint64_t most_unread(uint32_t header_bytes) {
    return 2 * uint64_t(header_bytes) + 64;
  }
  RequestReader(uint32_t header_bytes, uint64_t body_bytes);
  ~RequestReader();

  enum class Step {
    more,     // more bytes are needed
    header,   // the header is complete and good: header() may be called
    done,     // request() may be called
    refused,  // status() and message() say why; nothing after these bytes can be understood
  };
  // Reads from `bytes` and sets `used` to how many of them need not be shown again. A step at a
  // time: after `header` call again with the rest, also when that is empty.
  Step read(std::string_view bytes, size_t& used);

  int status() const { return status_; }
  const std::string& message() const { return message_; }

  // All of it from `header` on; before that the fields that had come when it was refused.
  const Request& header() const { return request_; }
  bool header_done() const { return header_done_; }

  // From `header` on.
  bool http11() const;
  bool keep_alive() const;      // as the client wishes
  bool wants_continue() const;  // it waits for "100 Continue" before it sends the body
  bool wants_body() const;      // some of its body is still to come
  bool head() const;            // method HEAD: the reply has no body
  uint64_t body_received() const;

  Request take();  // once, after `done`; `peer` and `captures` are not set

 private:
  struct Parser;
  Step refuse(int status, std::string message);
  Step refuse_header_size();
  Step refuse_body_size();
  bool body_fits() const;
  Step refuse_chunk_head();
  Step refuse_fields();
  Step refuse_folded();
  Step put(std::string_view bytes, size_t& used);
  Step check_header_size(std::string_view bytes, size_t used);
  Step check_header();
  void copy_fields();
  bool set_target(std::string_view target);

  std::unique_ptr<Parser> parser_;
  const uint32_t header_bytes_;
  const uint64_t body_bytes_;
  Request request_;
  bool header_done_ = false;
  uint64_t header_read_ = 0;  // bytes of the header that Beast has consumed
  int status_ = 0;
  std::string message_;
};

}  // namespace anser::http
