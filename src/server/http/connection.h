// One client's socket: requests off it one after the other, answers onto it.
//
// Everything but the constructor runs on the socket's strand, one thing at a time, and everything
// that waits keeps the connection alive: it is gone when nothing waits any more. One read is
// pending whenever there is room for what it would bring, so that a client that goes is noticed
// whatever else happens. It waits for the socket to become readable without a buffer: an idle
// connection costs some hundred bytes.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>

#include "server/http/core.h"
#include "server/http/exchange.h"
#include "server/http/request_reader.h"

namespace anser::http {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // The socket's executor is a strand.
  Connection(std::shared_ptr<Core> core, boost::asio::ip::tcp::socket socket);
  ~Connection();

  // From any thread; what they do is queued.
  void start();     // serve
  void refuse();    // there are too many: 503 and close
  void drain();     // close after the running answer, at once if there is none
  void cut();       // close now
  void give_way();  // close now, unless it waits no longer; another wants the place

  using Clock = std::chrono::steady_clock;
  // Since when it waits for its client: for a whole request, or for a byte of the answer to be
  // taken; never while the answer is being made. From any thread.
  Clock::time_point waiting_since() const { return waiting_since_; }

 private:
  using Error = boost::system::error_code;
  enum class Phase {
    idle,       // nothing of the next request has come
    reading,    // some of it has
    answering,  // exchange_ is set
    lingering,  // all is said; the client's bytes are dropped until it closes
    closed,
  };

  template <class Work>
  void queue(Work work);
  template <class Work>
  void safely(const Work& work);
  void on_no_memory();

  void want_read();
  void on_readable();
  void on_end_of_input();
  void want_errors();
  void parse();
  uint64_t small_body() const;
  bool nothing_of_a_request();
  bool admit();
  bool admit_by(const Options::AskRefusal& refusal);
  Headers answer_fields() const;
  bool account_body();
  std::shared_ptr<void> hand_over_account();
  void answer();
  void refuse_body();
  void answer_error(int status, std::string message, const Headers& more = {});
  void make_exchange(Exchange::Form form);
  void flush();
  void write_some();
  void finish_exchange();
  void send_now(std::string_view bytes);
  void linger();
  void close(bool reset);
  void set_deadline(milliseconds from_now);
  void clear_deadline() { deadline_ = Clock::time_point::max(); }
  void arm_timer();
  void on_deadline();

  const std::shared_ptr<Core> core_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  Phase phase_ = Phase::idle;
  std::atomic<Clock::time_point> waiting_since_ = Clock::now();

  std::string in_;       // bytes not yet parsed
  int empty_lines_ = 0;  // that were dropped before the next request
  bool read_pending_ = false;
  bool errors_pending_ = false;
  bool input_ended_ = false;  // the client sends no more
  std::unique_ptr<RequestReader> reader_;
  uint64_t accounted_ = 0;  // of Load::body_bytes

  std::shared_ptr<Exchange> exchange_;
  std::string out_;  // being written
  size_t written_ = 0;
  bool write_pending_ = false;

  // The timer is only moved when it would ring too late: a stream's deadline changes at every
  // token.
  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point armed_ = Clock::time_point::max();
};

}  // namespace anser::http
