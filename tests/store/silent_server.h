// A server that takes connections and what is sent, and answers with nothing, or a byte now and
// then.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace support {

class SilentServer {
 public:
  // `answer`: what it sends to everybody, a byte every `pause_ms`.
  explicit SilentServer(std::string answer = "", int pause_ms = 100)
      : answer_(std::move(answer)), pause_ms_(pause_ms) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 100) != 0 ||
        ::getsockname(listener_, any, &size) != 0) {
      throw std::runtime_error("no port");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~SilentServer() {
    ended_ = true;
    thread_.join();
    for (const Client& client : clients_) ::close(client.fd);
    ::close(listener_);
  }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }

 private:
  struct Client {
    int fd;
    size_t sent = 0;
  };

  void serve() {
    while (!ended_) {
      pollfd next = {listener_, POLLIN, 0};
      if (::poll(&next, 1, pause_ms_) == 1)
        clients_.push_back({::accept(listener_, nullptr, nullptr)});
      for (Client& client : clients_) {
        char heard[4096];
        while (::recv(client.fd, heard, sizeof(heard), MSG_DONTWAIT) > 0) {
        }
        if (client.sent == answer_.size()) continue;
        if (::send(client.fd, &answer_[client.sent], 1, MSG_NOSIGNAL) == 1) ++client.sent;
      }
    }
  }

  const std::string answer_;
  const int pause_ms_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> ended_ = false;
  std::vector<Client> clients_;
  std::thread thread_;
};

}  // namespace support
