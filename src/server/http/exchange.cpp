#include "server/http/exchange.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <iterator>

#include "anser/error.h"
#include "base/check.h"
#include "base/cut_text.h"

namespace anser::http {
namespace {

std::string reason(int status) {
  const auto text = boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(status));
  return {text.data(), text.size()};
}

// RFC 9110, 5.5 and 5.6.2: else one field could become two, or a reply two replies.
void check_field(std::string_view name, std::string_view value) {
  const auto control = [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; };
  const auto separates = [](unsigned char c) {
    return c <= 0x20 || c >= 0x7f ||
           std::string_view("\"(),/:;<=>?@[\\]{}").find(c) != std::string_view::npos;
  };
  if (name.empty() || std::any_of(name.begin(), name.end(), separates)) {
    throw Error("a reply's header field has a name that HTTP does not allow");
  }
  if (std::any_of(value.begin(), value.end(), control)) {
    throw Error(
        fmt::format("the reply's header field {} has a control character in its value", name));
  }
}

// What HTTP gives no body to (RFC 9110, 6.4.1).
bool bodiless(int status) {
  return status / 100 == 1 || status == 204 || status == 304;
}

}  // namespace

Exchange::Exchange(Form form, std::shared_ptr<const Options> options,
                   std::shared_ptr<const std::atomic<bool>> stopping, std::function<void()> wake)
    : options_(std::move(options)),
      stopping_(std::move(stopping)),
      form_(form),
      wake_(std::move(wake)) {}

void Exchange::put_head(int status, std::string_view content_type, const Headers& more,
                        std::string_view framing) {
  std::string head;
  const auto to = std::back_inserter(head);
  const auto field = [&](std::string_view name, std::string_view value) {
    check_field(name, value);
    fmt::format_to(to, "{}: {}\r\n", name, value);
  };
  fmt::format_to(to, "HTTP/1.1 {} {}\r\n", status, reason(status));
  field("Date", fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(std::time(nullptr))));
  if (!content_type.empty()) field("Content-Type", content_type);
  if (!keeps_alive()) {
    field("Connection", "close");
  } else if (!form_.http11) {
    field("Connection", "keep-alive");
  }
  for (const auto& [name, value] : more) field(name, value);
  fmt::format_to(to, "{}\r\n", framing);
  out_ += head;
}

void Exchange::put_whole(Lock& lock, int status, std::string_view content_type,
                         std::string_view body, const Headers& more) {
  ANSER_CHECK(state_ == State::waiting);
  if (!closed_) {
    put_head(status, content_type, more,
             bodiless(status) ? "" : fmt::format("Content-Length: {}\r\n", body.size()));
    if (!form_.head && !bodiless(status)) out_ += body;
  }
  finish(lock);
}

// The answer is complete: nobody needs to hear any more that the client is gone.
void Exchange::finish(Lock& lock) {
  state_ = State::complete;
  const std::function<void()> dropped = std::exchange(gone_, nullptr);
  wake();
  lock.unlock();  // what `dropped` holds may call us when it is freed
}

void Exchange::cut() {
  if (closed_) return;
  closed_ = cut_ = true;
  out_ = {};
  woken_ = false;  // the connection may be writing, and take nothing until it is done
  wake();
}

void Exchange::wake() {
  if (woken_ || !wake_) return;
  woken_ = true;
  wake_();
}

void Exchange::send(int status, std::string_view content_type, std::string_view body,
                    const Headers& more) {
  Lock lock(mutex_);
  put_whole(lock, status, content_type, body, more);
}

void Exchange::error(int status, const std::string& message, const Headers& more) {
  {
    const Lock lock(mutex_);
    if (state_ == State::streaming) cut();
    if (state_ != State::waiting) return;
  }
  const ErrorBody body =
      options_->error_body ? options_->error_body(status, message)
                           : ErrorBody{"text/plain; charset=utf-8", cut_text(message, 500) + "\n"};
  send(status, body.content_type, body.text, more);
}

void Exchange::begin(int status, std::string_view content_type, const Headers& more) {
  const Lock lock(mutex_);
  ANSER_CHECK(state_ == State::waiting && !bodiless(status));
  if (!closed_) {
    if (!form_.http11) form_.keep_alive = false;  // the end of the connection is the stream's
    put_head(status, content_type, more, form_.http11 ? "Transfer-Encoding: chunked\r\n" : "");
  }
  state_ = State::streaming;
  wake();
}

bool Exchange::write(std::string_view chunk) {
  const Lock lock(mutex_);
  ANSER_CHECK(state_ == State::streaming);
  if (out_.size() + taken_ > options_->stream_backlog_bytes) cut();
  if (closed_) return false;
  if (chunk.empty() || form_.head) return true;
  if (form_.http11) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", chunk.size());
  out_ += chunk;
  if (form_.http11) out_ += "\r\n";
  wake();
  return true;
}

void Exchange::end() {
  Lock lock(mutex_);
  ANSER_CHECK(state_ == State::streaming);
  if (!closed_ && form_.http11 && !form_.head) out_ += "0\r\n\r\n";
  finish(lock);
}

bool Exchange::closed() const {
  const Lock lock(mutex_);
  return closed_;
}

void Exchange::on_close(std::function<void()> gone) {
  {
    const Lock lock(mutex_);
    if (state_ == State::complete) return;
    if (!closed_ || cut_) {  // after a cut the connection will call it
      gone_.swap(gone);
      return;
    }
  }
  if (gone) gone();
}

uint64_t Exchange::pending() const {
  const Lock lock(mutex_);
  return closed_ ? 0 : out_.size() + taken_;
}

void Exchange::abandon() {
  error(500, "internal error: nothing answered this request", {});
}

bool Exchange::cut_off() const {
  const Lock lock(mutex_);
  return cut_;
}

bool Exchange::take(std::string& bytes) {
  const Lock lock(mutex_);
  woken_ = false;
  bytes.clear();
  bytes.swap(out_);
  taken_ = bytes.size();
  return state_ == State::complete;
}

void Exchange::sent(uint64_t bytes) {
  const Lock lock(mutex_);
  taken_ -= bytes;
}

std::string Exchange::probe() {
  const Lock lock(mutex_);
  if (closed_ || !form_.http11 || !out_.empty() || taken_ > 0) return {};
  if (state_ == State::waiting) return "HTTP/1.1 100 Continue\r\n\r\n";
  if (state_ == State::streaming && !form_.head) return "0";
  return {};
}

bool Exchange::keep_alive() const {
  const Lock lock(mutex_);
  return keeps_alive();
}

void Exchange::detach() {
  std::function<void()> gone, wake;
  {
    const Lock lock(mutex_);
    wake.swap(wake_);
    closed_ = closed_ || state_ != State::complete || !out_.empty() || taken_ > 0;
    cut_ = false;
    out_ = {};
    taken_ = 0;
    gone.swap(gone_);
  }
  if (gone) gone();
}

}  // namespace anser::http
