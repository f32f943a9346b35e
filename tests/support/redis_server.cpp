#include "support/redis_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace support {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof(address);
  const bool got = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                   ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  if (!got) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

}  // namespace

bool RedisServer::installed() {
  return std::system("command -v redis-server >/dev/null 2>&1") == 0;
}

RedisServer::RedisServer(const std::vector<std::string>& settings) : settings_(settings) {
  // Somebody else may take the port before the server does.
  for (int i = 0; pid_ < 0; ++i) {
    port_ = free_port();
    try {
      start();
    } catch (const std::runtime_error&) {
      if (i == 2) throw;
    }
  }
}

void RedisServer::start() {
  const std::string log = dir_ / "log";
  std::vector<std::string> words = {
      "redis-server", "--port",    std::to_string(port_), "--bind", "127.0.0.1", "--save", "",
      "--dir",        dir_.path(), "--logfile",           log};
  words.insert(words.end(), settings_.begin(), settings_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // also when the test crashes
    ::execvp("redis-server", arguments.data());
    ::_exit(127);
  }
  pid_ = child;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!answers()) {
    const bool ended = ::waitpid(pid_, nullptr, WNOHANG) == pid_;
    if (ended) pid_ = -1;
    if (ended || std::chrono::steady_clock::now() > deadline) {
      stop();
      throw std::runtime_error("redis-server does not start: " + read_file(log));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// With anything at all: with a password it is an error.
bool RedisServer::answers() const {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback(port_);
  constexpr std::string_view kPing = "PING\r\n";
  bool heard = false;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      ::send(fd, kPing.data(), kPing.size(), MSG_NOSIGNAL) == ssize_t(kPing.size())) {
    pollfd reply = {fd, POLLIN, 0};
    char first = 0;
    heard = ::poll(&reply, 1, 1000) == 1 && ::recv(fd, &first, 1, 0) == 1;
  }
  ::close(fd);
  return heard;
}

void RedisServer::stop() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::freeze() {
  ::kill(pid_, SIGSTOP);
}

void RedisServer::thaw() {
  ::kill(pid_, SIGCONT);
}

}  // namespace support
