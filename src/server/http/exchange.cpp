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
                   std::shared_ptr<const std::atomic<bool>> stopping,
                   std::shared_ptr<SendBudget> budget, std::function<void()> wake)
    : options_(std::move(options)),
      stopping_(std::move(stopping)),
      budget_(std::move(budget)),
      form_(std::move(form)),
      wake_(std::move(wake)) {}

Exchange::~Exchange() {
  if (entered_) budget_->leave(*this);
  budget_->release(held_);
}

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
  field("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : more) field(name, value);
  for (const auto& [name, value] : form_.fields) {
    if (more.count(name) == 0) field(name, value);
  }
  fmt::format_to(to, "{}\r\n", framing);
  out_ += head;
}

// With mutex_ held. A handler that answers twice, or out of order, is wrong; but that is no reason
// to end all others' requests. The first answer stands if it is complete; a stream is cut, so that
// it never looks complete.
bool Exchange::is_in(State expected) {
  if (state_ == expected) return true;
  if (options_->on_fault) options_->on_fault("a request was answered twice, or out of order");
  if (state_ == State::streaming) cut();
  return false;
}

// Half of an answer, for want of memory, would be taken for the whole.
template <class Put>
void Exchange::all_or_nothing(const Put& put) {
  const size_t before = out_.size();
  try {
    put();
  } catch (...) {
    out_.resize(before);
    throw;
  }
}

void Exchange::put_whole(Lock& lock, int status, std::string_view content_type,
                         std::string_view body, const Headers& more) {
  if (!is_in(State::waiting)) return;
  if (!closed_) {
    all_or_nothing([&] {
      put_head(status, content_type, more,
               bodiless(status) ? "" : fmt::format("Content-Length: {}\r\n", body.size()));
      if (!form_.head && !bodiless(status)) out_ += body;
    });
  }
  finish(lock);
}

// After anything that counts has changed.
void Exchange::recount() {
  const uint64_t now = std::max<uint64_t>(out_.size() + taken_whole_, reserved_), before = held_;
  if (now > before) budget_->add(now - before);
  if (now < before) budget_->release(before - now);
  held_ = now;
  const bool enter = now > SendBudget::kSmall;
  if (enter == entered_) return;
  entered_ = enter;
  if (!enter) return budget_->leave(*this);
  progress_.since = progress_.last = SendBudget::Clock::now().time_since_epoch().count();
  progress_.sent = 0;
  budget_->enter(*this);
}

// The answer is complete: nobody needs to hear any more that the client is gone.
void Exchange::finish(Lock& lock) {
  state_ = State::complete;
  const std::function<void()> dropped = std::exchange(gone_, nullptr);
  recount();
  wake();
  lock.unlock();  // what `dropped` holds may call us when it is freed
}

void Exchange::cut() {
  if (closed_) return;
  closed_ = cut_ = true;
  out_ = {};
  taken_whole_ = reserved_ = 0;  // the connection lets go of it at once
  recount();
  woken_ = false;  // the connection may be writing, and take nothing until it is done
  wake();
}

void Exchange::wake() {
  if (woken_ || !wake_) return;
  wake_();
  woken_ = true;
}

void Exchange::send(int status, std::string_view content_type, std::string_view body,
                    const Headers& more) {
  const bool counts = needs_room(body.size());
  if (counts && !budget_->reserve(body.size())) return refuse(body.size());
  Lock lock(mutex_);
  if (counts) held_ += body.size();
  put_whole(lock, status, content_type, body, more);
}

void Exchange::refuse(uint64_t bytes) {
  budget_->count_refused();
  Headers again;
  if (bytes <= budget_->most()) again.add("Retry-After", "1");
  error(503,
        fmt::format("there is no room for this answer of {} bytes: all answers that wait for their "
                    "clients may take {} bytes together. {}",
                    bytes, budget_->most(),
                    bytes <= budget_->most() ? "Try again" : "Ask for less at a time"),
        again);
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

void Exchange::begin(int status, std::string_view content_type, const Headers& more,
                     std::optional<uint64_t> length) {
  const Lock lock(mutex_);
  ANSER_CHECK(!bodiless(status));
  if (!is_in(State::waiting)) return;
  chunked_ = form_.http11 && !length;
  left_ = length;
  if (!closed_) {
    // Without chunks or a length the end of the connection is the stream's.
    if (!chunked_ && !length) form_.keep_alive = false;
    put_head(status, content_type, more,
             length     ? fmt::format("Content-Length: {}\r\n", *length)
             : chunked_ ? "Transfer-Encoding: chunked\r\n"
                        : "");
  }
  state_ = State::streaming;
  recount();
  wake();
}

// Whether so many more bytes are more than always find room.
bool Exchange::needs_room(uint64_t bytes) const {
  const Lock lock(mutex_);
  return !closed_ && wants_body() &&
         out_.size() + taken_whole_ + bytes > std::max(SendBudget::kSmall, reserved_);
}

bool Exchange::write(std::string_view chunk) {
  const bool counts = needs_room(chunk.size());
  const bool room = !counts || budget_->reserve(chunk.size());
  if (!room) budget_->count_refused();
  const Lock lock(mutex_);
  if (counts && room) held_ += chunk.size();
  if (!is_in(State::streaming)) {
    recount();
    return false;
  }
  if (!room || out_.size() + taken_ > options_->stream_backlog_bytes) cut();
  if (!closed_ && wants_body() && !chunk.empty()) {
    ANSER_CHECK(!left_ || chunk.size() <= *left_);
    if (left_) *left_ -= chunk.size();
    all_or_nothing([&] {
      if (chunked_) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", chunk.size());
      out_ += chunk;
      if (chunked_) out_ += "\r\n";
    });
    wake();
  }
  recount();
  return !closed_;
}

bool Exchange::reserve(uint64_t bytes) {
  if (!budget_->reserve(bytes)) {
    budget_->count_refused();
    return false;
  }
  const Lock lock(mutex_);
  held_ += bytes;
  if (!closed_) reserved_ += bytes;
  recount();
  return true;
}

void Exchange::on_drained(std::function<void()> drained) {
  {
    const Lock lock(mutex_);
    if (closed_) return;
    if (!out_.empty() || taken_ > 0) {
      drained_.swap(drained);
      return;
    }
  }
  drained();
}

void Exchange::end() {
  Lock lock(mutex_);
  if (!is_in(State::streaming)) return;
  if (wants_body() && left_.value_or(0) > 0) cut();  // it must not look complete
  if (!closed_ && chunked_ && wants_body()) out_ += "0\r\n\r\n";
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
  try {
    error(500, "internal error: nothing answered this request", {});
  } catch (const std::exception&) {  // for want of memory
    const Lock lock(mutex_);
    if (state_ != State::complete) cut();
  }
}

bool Exchange::cut_off() const {
  const Lock lock(mutex_);
  return cut_;
}

bool Exchange::take(std::string& bytes) {
  std::function<void()> drained;
  bool complete;
  {
    const Lock lock(mutex_);
    woken_ = false;
    // What was large is given back: a slow stream would keep it for its next few bytes.
    if (bytes.capacity() > SendBudget::kSmall) bytes = {};
    bytes.clear();
    bytes.swap(out_);
    taken_ = taken_whole_ = bytes.size();
    recount();
    complete = state_ == State::complete;
    if (bytes.empty()) drained.swap(drained_);
  }
  if (drained) drained();
  return complete;
}

void Exchange::sent(uint64_t bytes) {
  const Lock lock(mutex_);
  taken_ -= bytes;
  progress_.sent += bytes;
  progress_.last = SendBudget::Clock::now().time_since_epoch().count();
}

std::string Exchange::probe() {
  const Lock lock(mutex_);
  if (closed_ || !form_.http11 || !out_.empty() || taken_ > 0) return {};
  if (state_ == State::waiting) return "HTTP/1.1 100 Continue\r\n\r\n";
  if (state_ == State::streaming && chunked_ && !form_.head) return "0";
  return {};
}

bool Exchange::keep_alive() const {
  const Lock lock(mutex_);
  return keeps_alive();
}

void Exchange::cut_for_room() {
  const Lock lock(mutex_);
  // The budget has dropped it from its list; it may have come back meanwhile.
  if (std::exchange(entered_, false)) budget_->leave(*this);
  cut();
}

void Exchange::detach() {
  std::function<void()> gone, wake, drained;
  {
    const Lock lock(mutex_);
    wake.swap(wake_);
    closed_ = closed_ || state_ != State::complete || !out_.empty() || taken_ > 0;
    cut_ = false;
    out_ = {};
    taken_ = taken_whole_ = reserved_ = 0;
    recount();
    gone.swap(gone_);
    drained.swap(drained_);
  }
  if (gone) gone();
}

}  // namespace anser::http
