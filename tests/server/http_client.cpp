#include "server/http_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <utility>

namespace anser::http {

Client::Client(uint16_t port, int receive_buffer) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  // With sanitizers, and on cores that others use, too, an answer may take a while.
  const timeval patience{60, 0};
  const int one = 1;
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (receive_buffer > 0) {
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int failed = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  EXPECT_EQ(failed, 0) << "cannot connect to port " << port << ", errno " << errno;
}

Client::Client(Client&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      buffer_(std::move(other.buffer_)),
      broken_(other.broken_) {}

void Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(size_t(n));
  }
}

void Client::half_close() {
  ::shutdown(socket_, SHUT_WR);
}

void Client::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void Client::reset() {
  const linger hard{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

std::string Client::read_some() {
  if (!buffer_.empty()) return std::exchange(buffer_, {});
  char piece[16384];
  const ssize_t n = ::recv(socket_, piece, sizeof piece, 0);
  if (n < 0) {
    EXPECT_TRUE(errno == ECONNRESET || errno == EPIPE) << "nothing came, errno " << errno;
    broken_ = true;
  }
  return std::string(piece, n > 0 ? size_t(n) : 0);
}

std::string Client::read_until(std::string_view mark) {
  std::string bytes;
  for (;;) {
    if (const size_t at = bytes.find(mark); at != bytes.npos) {
      buffer_ = bytes.substr(at + mark.size());
      return bytes.substr(0, at + mark.size());
    }
    const std::string more = read_some();
    if (more.empty()) return bytes;
    bytes += more;
  }
}

std::string Client::read_exactly(size_t count) {
  std::string bytes;
  while (bytes.size() < count) {
    const std::string more = read_some();
    if (more.empty()) return bytes;
    bytes += more;
  }
  buffer_ = bytes.substr(count);
  bytes.resize(count);
  return bytes;
}

Answer Client::read_head() {
  Answer answer;
  const std::string line = read_until("\r\n");
  if (line.rfind("HTTP/1.1 ", 0) != 0) {
    ADD_FAILURE() << "no status line: \"" << line << '"';
    return answer;
  }
  answer.status = std::stoi(line.substr(9));
  for (;;) {
    const std::string field = read_until("\r\n");
    const size_t colon = field.find(": ");
    if (colon == field.npos) break;
    answer.headers.add(field.substr(0, colon), field.substr(colon + 2, field.size() - colon - 4));
  }
  return answer.status == 100 ? read_head() : answer;
}

Answer Client::read_answer(bool head) {
  Answer answer = read_head();
  if (head) return answer;
  if (answer.headers["Transfer-Encoding"] == "chunked") {
    while (const size_t size = std::stoul("0" + read_until("\r\n"), nullptr, 16)) {
      answer.body += read_exactly(size);
      read_until("\r\n");
    }
    read_until("\r\n");
  } else if (const auto length = answer.headers["Content-Length"]; !length.empty()) {
    answer.body = read_exactly(std::stoul(std::string(length)));
  }
  return answer;
}

std::string Client::read_to_end() {
  std::string bytes;
  for (;;) {
    const std::string more = read_some();
    if (more.empty()) return bytes;
    bytes += more;
  }
}

std::string get(std::string_view path, std::string_view more_fields) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more_fields) +
         "\r\n";
}

std::string post(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

bool soon(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace anser::http
