#include "server/http/connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/write.hpp>

namespace anser::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// So much is read ahead of the request that is being answered. A client that pipelines more is read
// again when its turn comes; that it has gone is then seen by the reset alone.
constexpr size_t kReadAhead = 64 << 10;

// One turn's read, on the stack.
constexpr size_t kReadPiece = 16 << 10;

// The system takes so much of a stream that cannot be sent yet; what is more waits in the exchange,
// where it is counted. By default Linux takes up to 4 MB for each client that does not read.
constexpr int kUnsentBytes = 64 << 10;

constexpr int kAskAfterSeconds = 30;

// A client that was told that the connection is over has so long to close it.
constexpr milliseconds kLinger{1000};

// Bytes of a body that are counted until this is gone.
class BodyShare {
 public:
  BodyShare(std::shared_ptr<std::atomic<uint64_t>> all, uint64_t bytes)
      : all_(std::move(all)), bytes_(bytes) {}
  ~BodyShare() { *all_ -= bytes_; }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;

 private:
  const std::shared_ptr<std::atomic<uint64_t>> all_;
  const uint64_t bytes_;
};

}  // namespace

Connection::Connection(std::shared_ptr<Core> core, tcp::socket socket)
    : core_(std::move(core)), socket_(std::move(socket)), timer_(socket_.get_executor()) {
  Error ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto tcp_option = [&](int name, int value) {
    ::setsockopt(socket_.native_handle(), IPPROTO_TCP, name, &value, sizeof value);
  };
  tcp_option(TCP_NOTSENT_LOWAT, kUnsentBytes);
  // A client whose machine or cable is gone says nothing: ask when all is quiet, and give up on
  // bytes that are not acknowledged.
  tcp_option(TCP_KEEPIDLE, kAskAfterSeconds);
  tcp_option(TCP_KEEPINTVL, kAskAfterSeconds / 3);
  tcp_option(TCP_KEEPCNT, 3);
  tcp_option(TCP_USER_TIMEOUT, int(core_->options->write_timeout.count()));
  const std::lock_guard lock(core_->mutex);
  core_->connections.insert(this);
}

Connection::~Connection() {
  if (exchange_) exchange_->detach();
  *core_->body_bytes -= accounted_;
  const std::lock_guard lock(core_->mutex);
  core_->connections.erase(this);
  core_->left.notify_all();
}

template <class Work>
void Connection::queue(Work work) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), work] { ((*self).*work)(); });
}

void Connection::start() {
  queue(&Connection::parse);
}
void Connection::cut() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->close(true); });
}

void Connection::refuse() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->answer_error(503,
                       fmt::format("more than {} connections", self->core_->options->connections),
                       {{"Retry-After", "1"}});
  });
}

void Connection::drain() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->phase_ == Phase::idle || self->phase_ == Phase::reading) self->close(false);
  });
}

// ---- reading

void Connection::want_read() {
  if (read_pending_ || input_ended_ || phase_ == Phase::closed) return;
  if (phase_ == Phase::answering && in_.size() >= kReadAhead) return want_errors();
  read_pending_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const Error& error) {
    self->read_pending_ = false;
    if (!error && self->phase_ != Phase::closed) self->on_readable();
  });
}

void Connection::on_readable() {
  char piece[kReadPiece];
  Error error;
  const size_t n = socket_.read_some(asio::buffer(piece), error);
  if (error == asio::error::would_block) return want_read();
  if (error == asio::error::eof) return on_end_of_input();
  if (error) return close(true);
  if (phase_ == Phase::lingering) return want_read();
  in_.append(piece, n);
  phase_ == Phase::answering ? want_read() : parse();
}

void Connection::on_end_of_input() {
  input_ended_ = true;
  if (phase_ != Phase::answering) return close(false);
  want_errors();
  if (!write_pending_) send_now(exchange_->probe());
}

// Waits for a reset where nothing can be read any more.
void Connection::want_errors() {
  if (std::exchange(errors_pending_, true)) return;
  socket_.async_wait(tcp::socket::wait_error, [self = shared_from_this()](const Error& error) {
    self->errors_pending_ = false;
    if (!error && self->phase_ == Phase::answering) self->close(true);
  });
}

void Connection::parse() {
  const Options& options = *core_->options;
  while (phase_ == Phase::idle || phase_ == Phase::reading) {
    if (phase_ == Phase::idle) {
      if (*core_->stopping || (in_.empty() && input_ended_)) return close(false);
      if (in_.empty()) {
        if (deadline_ == Clock::time_point::max()) set_deadline(options.idle_timeout);
        return want_read();
      }
      phase_ = Phase::reading;
      reader_ = std::make_unique<RequestReader>(options.header_bytes, options.body_bytes);
      set_deadline(options.read_timeout);
    }
    size_t used = 0;
    const RequestReader::Step step = reader_->read(in_, used);
    in_.erase(0, used);
    switch (step) {
      case RequestReader::Step::more:
        if (!account_body()) return refuse_body();
        // Only a line without end is kept unread: the grammar does not limit a chunk's.
        if (in_.size() > options.header_bytes) {
          return answer_error(431,
                              fmt::format("a line has more than {} bytes", options.header_bytes));
        }
        if (input_ended_) return close(false);
        return want_read();
      case RequestReader::Step::header:
        if (reader_->wants_continue() && in_.empty()) send_now("HTTP/1.1 100 Continue\r\n\r\n");
        continue;
      case RequestReader::Step::done:
        if (!account_body()) return refuse_body();
        return answer();
      case RequestReader::Step::refused:
        return answer_error(reader_->status(), reader_->message());
    }
  }
}

// False when the bodies that are being received would take more memory than they may.
bool Connection::account_body() {
  const uint64_t received = reader_->body_received();
  const uint64_t before = core_->body_bytes->fetch_add(received - accounted_);
  const uint64_t more = received - std::exchange(accounted_, received);
  return before + more <= core_->options->all_body_bytes;
}

// ---- answering

void Connection::make_exchange(Exchange::Form form) {
  *core_->body_bytes -= std::exchange(accounted_, 0);
  reader_.reset();
  phase_ = Phase::answering;
  clear_deadline();
  exchange_ =
      std::make_shared<Exchange>(form, core_->options, core_->stopping, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->queue(&Connection::flush);
      });
}

void Connection::answer() {
  Request request = reader_->take();
  request.body_share =
      std::make_shared<const BodyShare>(core_->body_bytes, std::exchange(accounted_, 0));
  Error ignored;
  request.peer = socket_.remote_endpoint(ignored).address().to_string();
  make_exchange({.http11 = reader_->http11(),
                 .keep_alive = reader_->keep_alive(),
                 .head = request.method == "HEAD"});
  want_read();
  try {
    core_->handler(std::move(request), std::make_shared<Reply>(exchange_));
  } catch (const std::exception& error) {
    core_->fault(error.what());
  } catch (...) {
    core_->fault("a handler threw something that is no exception");
  }
}

void Connection::refuse_body() {
  answer_error(503, "too many requests are being received, try again", {{"Retry-After", "1"}});
}

void Connection::answer_error(int status, std::string message, const Headers& more) {
  const bool head = reader_ && reader_->head();
  make_exchange({.keep_alive = false, .head = head});
  in_.clear();
  want_read();
  exchange_->error(status, message, more);
}

void Connection::flush() {
  if (phase_ != Phase::answering) return;
  if (exchange_->cut_off()) return close(true);  // also in the midst of a write
  if (write_pending_) return;
  const bool complete = exchange_->take(out_);
  written_ = 0;
  if (!out_.empty()) return write_some();
  if (complete) finish_exchange();
}

void Connection::write_some() {
  write_pending_ = true;
  set_deadline(core_->options->write_timeout);
  socket_.async_write_some(asio::buffer(out_) + written_,
                           [self = shared_from_this()](const Error& error, size_t n) {
                             self->write_pending_ = false;
                             if (self->phase_ == Phase::closed) return;
                             if (error) return self->close(true);
                             self->written_ += n;
                             self->exchange_->sent(n);
                             if (self->written_ < self->out_.size()) return self->write_some();
                             self->clear_deadline();
                             self->flush();
                           });
}

void Connection::finish_exchange() {
  const bool next = exchange_->keep_alive();
  exchange_->detach();
  exchange_.reset();
  out_ = {};
  if (!next) return linger();
  phase_ = Phase::idle;
  parse();
}

// Some bytes beside an answer, when none of one are on their way. They find room, as the system's
// buffer is empty or nearly so; if not, nothing is lost unless they are torn.
void Connection::send_now(std::string_view bytes) {
  if (bytes.empty()) return;
  Error error;
  const size_t n = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
  if (n > 0 && n < bytes.size()) close(true);
}

// ---- the end

// A socket that is closed with bytes unread resets the connection, and the client may lose the
// answer before it has read it (RFC 9112, 9.6): say that it is over, and read until it closes.
void Connection::linger() {
  if (input_ended_) return close(false);
  Error error;
  socket_.shutdown(tcp::socket::shutdown_send, error);
  if (error) return close(true);
  phase_ = Phase::lingering;
  in_ = {};
  set_deadline(kLinger);
  want_read();
}

// With a reset also the bytes that the system still has are dropped.
void Connection::close(bool reset) {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  Error ignored;
  if (reset) socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  socket_.close(ignored);
  timer_.cancel();
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->detach();
}

void Connection::set_deadline(milliseconds from_now) {
  deadline_ = Clock::now() + from_now;
  if (deadline_ < armed_) arm_timer();
}

void Connection::arm_timer() {
  armed_ = deadline_;
  timer_.expires_at(armed_);  // cancels the wait before
  timer_.async_wait([self = shared_from_this()](const Error& error) {
    if (error || self->phase_ == Phase::closed) return;
    self->armed_ = Clock::time_point::max();
    if (Clock::now() >= self->deadline_) return self->on_deadline();
    if (self->deadline_ != Clock::time_point::max()) self->arm_timer();
  });
}

void Connection::on_deadline() {
  clear_deadline();
  switch (phase_) {
    case Phase::reading:
      return answer_error(408, fmt::format("the request did not come within {} ms",
                                           core_->options->read_timeout.count()));
    case Phase::answering:
      return close(true);
    case Phase::idle:
    case Phase::lingering:
      return close(false);
    case Phase::closed:
      return;
  }
}

}  // namespace anser::http
