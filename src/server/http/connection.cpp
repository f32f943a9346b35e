#include "server/http/connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/write.hpp>
#include <new>

#include "base/with_patience.h"

namespace anser::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// So much is read ahead of the request that is being answered. A client that pipelines more is read
// again when its turn comes; that it has gone is then seen by the reset alone.
constexpr size_t kReadAhead = 64 << 10;

// So much of each body always finds room, a part of what all may have together (64 KiB of 256 MiB):
// large bodies that come slowly must not keep out small requests.
constexpr uint64_t kPartOfSmallBody = 4096;

// One turn's read, on the stack.
constexpr size_t kReadPiece = 16 << 10;

// The system takes so much of a stream that cannot be sent yet; what is more waits in the exchange,
// where it is counted. By default Linux takes up to 4 MB for each client that does not read.
constexpr int kUnsentBytes = 64 << 10;

constexpr int kAskAfterSeconds = 30;

// So many empty lines may stand before a request line (RFC 9112, 2.2, asks for one at least).
constexpr int kMostEmptyLines = 8;

// A client that was told that the connection is over has so long to close it.
constexpr milliseconds kLinger{1000};

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
  core_->options->load->body_bytes -= accounted_;
  const std::lock_guard lock(core_->mutex);
  core_->connections.erase(this);
  core_->left.notify_all();
}

template <class Work>
void Connection::queue(Work work) {
  // Whoever waits for what is queued would wait for ever.
  with_patience([&] {
    asio::post(socket_.get_executor(),
               [self = shared_from_this(), work] { self->safely([&] { ((*self).*work)(); }); });
  });
}

template <class Work>
void Connection::safely(const Work& work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    on_no_memory();
  }
}

// What has been received goes, and the client is told to come again, if there is memory for that.
void Connection::on_no_memory() {
  in_ = {};
  if (phase_ == Phase::reading) {
    reader_.reset();
    try {
      return answer_error(503, "the server has no memory left for this request; try again later",
                          {{"Retry-After", "1"}});
    } catch (const std::bad_alloc&) {
      // Then it sees the end of the connection.
    }
  }
  close(true);
}

void Connection::start() {
  queue(&Connection::parse);
}
void Connection::cut() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->close(true); });
}

void Connection::give_way() {
  waiting_since_ = Clock::time_point::max();  // it is not to be chosen again
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->phase_ == Phase::idle || self->phase_ == Phase::reading) self->close(false);
    // Unless its client has read something meanwhile.
    const bool unread = self->waiting_since() == Clock::time_point::max();
    if (self->write_pending_ && unread) self->close(true);
  });
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
    if (error || self->phase_ == Phase::closed) return;
    self->safely([&] { self->on_readable(); });
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

// Drops the empty lines that some clients send behind a body. They do not put off the deadline of
// a connection on which nothing happens.
bool Connection::nothing_of_a_request() {
  for (; in_.starts_with("\r\n") && empty_lines_ < kMostEmptyLines; ++empty_lines_) in_.erase(0, 2);
  return in_.empty() || (in_ == "\r" && empty_lines_ < kMostEmptyLines);
}

void Connection::parse() {
  const Options& options = *core_->options;
  while (phase_ == Phase::idle || phase_ == Phase::reading) {
    if (phase_ == Phase::idle) {
      const bool nothing = nothing_of_a_request();
      if (*core_->stopping || (nothing && input_ended_)) return close(false);
      if (nothing) {
        if (deadline_ == Clock::time_point::max()) set_deadline(options.idle_timeout);
        return want_read();
      }
      empty_lines_ = 0;
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
        if (input_ended_) return close(false);
        return want_read();
      case RequestReader::Step::header:
        if (!admit()) return;
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

// So much of each body always finds room.
uint64_t Connection::small_body() const {
  return core_->options->all_body_bytes / kPartOfSmallBody;
}

// False when the request has been refused for what its header says.
bool Connection::admit() {
  const Options& options = *core_->options;
  if (!admit_by(options.refusal)) return false;
  return !reader_->wants_body() || admit_by(options.body_refusal);
}

bool Connection::admit_by(const Options::AskRefusal& refusal) {
  const auto refused = refusal ? refusal(reader_->header()) : std::nullopt;
  if (refused) answer_error(refused->status, refused->message, refused->fields);
  return !refused;
}

Headers Connection::answer_fields() const {
  const auto& fields = core_->options->answer_fields;
  if (!fields) return {};
  return reader_ ? fields(reader_->header(), reader_->header_done()) : fields(Request(), false);
}

// False when the bodies that are being received would take more memory than they may. A small body
// always finds room, a quarter of the whole for a thousand connections: else whoever sends a few
// large ones that do not end would keep out everybody.
bool Connection::account_body() {
  const uint64_t received = reader_->body_received();
  const uint64_t before = core_->options->load->body_bytes.fetch_add(received - accounted_);
  const uint64_t more = received - std::exchange(accounted_, received);
  return before + more <= core_->options->all_body_bytes || received <= small_body();
}

// What is counted of the body, to be given back when nobody has the request any more.
std::shared_ptr<void> Connection::hand_over_account() {
  account_body();
  const uint64_t bytes = std::exchange(accounted_, 0);
  if (bytes == 0) return nullptr;
  const auto give_back = [load = core_->options->load, bytes](void*) { load->body_bytes -= bytes; };
  return {nullptr, give_back};
}

// ---- answering

void Connection::make_exchange(Exchange::Form form) {
  core_->options->load->body_bytes -= std::exchange(accounted_, 0);
  reader_.reset();
  phase_ = Phase::answering;
  waiting_since_ = Clock::time_point::max();
  clear_deadline();
  exchange_ = std::make_shared<Exchange>(std::move(form), core_->options, core_->stopping,
                                         core_->send_budget, [weak = weak_from_this()] {
                                           if (const auto self = weak.lock())
                                             self->queue(&Connection::flush);
                                         });
}

void Connection::answer() {
  Headers fields = answer_fields();
  std::shared_ptr<void> account = hand_over_account();
  Request request = reader_->take();
  request.counted = std::move(account);
  Error ignored;
  request.peer = socket_.remote_endpoint(ignored).address().to_string();
  make_exchange({.http11 = reader_->http11(),
                 .keep_alive = reader_->keep_alive(),
                 .head = request.method == "HEAD",
                 .fields = std::move(fields)});
  want_read();
  auto reply = std::make_shared<Reply>(exchange_);
  try {
    core_->handler(std::move(request), std::move(reply));
  } catch (const std::exception& error) {  // the reply, which nobody has any more, says so
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
  make_exchange({.keep_alive = false, .head = head, .fields = answer_fields()});
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
  waiting_since_ = Clock::now();
  set_deadline(core_->options->write_timeout);
  socket_.async_write_some(asio::buffer(out_) + written_,
                           [self = shared_from_this()](const Error& error, size_t n) {
                             self->write_pending_ = false;
                             self->waiting_since_ = Clock::time_point::max();
                             if (self->phase_ == Phase::closed) return;
                             if (error) return self->close(true);
                             self->written_ += n;
                             self->exchange_->sent(n);
                             self->safely([&] {
                               if (self->written_ < self->out_.size()) return self->write_some();
                               self->clear_deadline();
                               self->flush();
                             });
                           });
}

void Connection::finish_exchange() {
  const bool next = exchange_->keep_alive();
  exchange_->detach();
  exchange_.reset();
  out_ = {};
  if (!next) return linger();
  phase_ = Phase::idle;
  waiting_since_ = Clock::now();
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
  waiting_since_ = Clock::time_point::max();
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
  // Not what keeps it: who has lost all else that waits, for want of memory, shall be closed.
  timer_.async_wait([weak = weak_from_this()](const Error& error) {
    const auto self = weak.lock();
    if (error || !self || self->phase_ == Phase::closed) return;
    self->armed_ = Clock::time_point::max();
    self->safely([&] {
      if (Clock::now() >= self->deadline_) return self->on_deadline();
      if (self->deadline_ != Clock::time_point::max()) self->arm_timer();
    });
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
