// A client of few manners: a raw socket on loopback that sends what it is told and reads what
// comes. Every wait ends after ten seconds with a failed test.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "server/http/headers.h"
#include "server/http/options.h"

namespace anser::http {

struct Answer {
  int status = 0;
  Headers headers;
  std::string body;  // without chunks' sizes
};

class Client {
 public:
  // With a receive buffer of so many bytes, 0 being the system's choice.
  explicit Client(uint16_t port, int receive_buffer = 0);
  ~Client() { close(); }
  Client(Client&& other) noexcept;
  Client(const Client&) = delete;

  void send(std::string_view bytes);  // what the server does not take any more is dropped
  void half_close();                  // no more requests
  void close();
  void reset();  // close with RST

  std::string read_some();                        // "" at the end
  std::string read_until(std::string_view mark);  // up to and with `mark`; less at the end
  Answer read_head();                             // skips 100 Continue
  Answer read_answer(bool head = false);          // and its body
  std::string read_to_end();
  bool at_end() { return read_some().empty(); }
  bool broken() const { return broken_; }  // ended by a reset

 private:
  std::string read_exactly(size_t count);

  int socket_ = -1;
  std::string buffer_;  // received, not yet read
  bool broken_ = false;
};

// "GET path HTTP/1.1" and what belongs to it.
std::string get(std::string_view path, std::string_view more_fields = "");
std::string post(std::string_view path, std::string_view body);

// A server's options but for the port, which the system picks.
inline Options any_port() {
  Options options;
  options.port = 0;
  return options;
}

// Whether it becomes true within ten seconds.
bool soon(const std::function<bool()>& condition);

}  // namespace anser::http
