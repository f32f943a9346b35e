#include "server/http/request_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <iterator>

namespace anser::http {

namespace beast = boost::beast::http;

namespace {

using boost::system::error_code;

// What Beast does not refuse of a chunk's head or of a trailer.
enum class Excess { none, bytes, fields, folded };

// As many as 64 bits have.
constexpr size_t kSizeDigits = 16;

// RFC 9112, 5.2: a line that begins with a space goes on with the field before, and not everybody
// reads it so.
bool has_folded_line(std::string_view lines) {
  return lines.find("\n ") != lines.npos || lines.find("\n\t") != lines.npos;
}

}  // namespace

struct RequestReader::Parser : beast::request_parser<beast::string_body> {
  int fields() const { return int(std::distance(get().begin(), get().end())); }

  // For the callback, which the grammar calls in the midst of put().
  std::string_view piece;
  uint64_t extension_bytes = 0;
  Excess excess = Excess::none;
  // Called with what stands behind a chunk's size. The last chunk's only comes when its trailer is
  // there, before the trailer's fields are put beside the header's.
  std::function<void(uint64_t, boost::beast::string_view, error_code&)> on_chunk;

  Excess measure_chunk(uint64_t size, std::string_view extensions, uint32_t most) {
    const size_t at = size_t(extensions.data() - piece.data());  // they are a part of it
    const size_t before = piece.find_last_not_of("0123456789abcdefABCDEF", at - 1);
    extension_bytes += extensions.size();
    if (extension_bytes > most || at - (before + 1) > kSizeDigits) return Excess::bytes;
    if (size > 0) return Excess::none;
    std::string_view trailer = piece.substr(at + extensions.size());
    trailer = trailer.substr(0, trailer.find("\r\n\r\n"));
    if (trailer.size() > most) return Excess::bytes;
    if (std::count(trailer.begin(), trailer.end(), '\n') > kMaxFields) return Excess::fields;
    return has_folded_line(trailer) ? Excess::folded : Excess::none;
  }
};

RequestReader::RequestReader(uint32_t header_bytes, uint64_t body_bytes)
    : parser_(std::make_unique<Parser>()), header_bytes_(header_bytes), body_bytes_(body_bytes) {
  parser_->header_limit(header_bytes);
  parser_->body_limit(boost::none);  // until the header has been handed out, see body_fits()
  parser_->eager(false);             // stop at the end of the header, to look at it
  parser_->on_chunk = [parser = parser_.get(), header_bytes](
                          uint64_t size, boost::beast::string_view extensions, error_code& error) {
    parser->excess =
        parser->measure_chunk(size, {extensions.data(), extensions.size()}, header_bytes);
    if (parser->excess != Excess::none) error = beast::error::bad_chunk_extension;
  };
  parser_->on_chunk_header(parser_->on_chunk);
}

RequestReader::~RequestReader() = default;

RequestReader::Step RequestReader::read(std::string_view bytes, size_t& used) {
  used = 0;
  // Beast 1.81 knows the last chunk's head from "0\r\n" on, and asserts that it is shown five bytes
  // from then on. No body ends in fewer.
  const bool cut_off = bytes.size() < 5 && bytes.starts_with("0\r\n");
  if (header_done_ && !body_fits()) return refuse_body_size();
  if (header_done_ && parser_->chunked() && cut_off) return Step::more;
  if (!bytes.empty() && !parser_->is_done() && put(bytes, used) == Step::refused) {
    return Step::refused;
  }
  if (!parser_->is_header_done()) return Step::more;
  if (!header_done_) {
    header_done_ = true;
    parser_->body_limit(body_bytes_);
    parser_->eager(true);
    return check_header();
  }
  return parser_->is_done() ? Step::done : Step::more;
}

RequestReader::Step RequestReader::put(std::string_view bytes, size_t& used) {
  error_code error;
  parser_->piece = bytes;
  used = parser_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  switch (parser_->excess) {
    case Excess::none:
      break;
    case Excess::bytes:
      return refuse_chunk_head();
    case Excess::fields:
      return refuse_fields();
    case Excess::folded:
      return refuse_folded();
  }
  if (error == beast::error::header_limit) return refuse_header_size();
  if (error == beast::error::body_limit) return refuse_body_size();
  if (error == beast::error::bad_version) return refuse(505, "this is not HTTP/1.1 or HTTP/1.0");
  if (error && error != beast::error::need_more) {
    return refuse(400, "the request is not HTTP: " + error.message());
  }
  if (!header_done_) return check_header_size(bytes, used);
  // Of a body only a chunk's head and the trailer are left unread until they are whole; behind it
  // the next requests may have come.
  const size_t unread = parser_->is_done() ? 0 : bytes.size() - used;
  return unread > most_unread(header_bytes_) ? refuse_chunk_head() : Step::more;
}

// `used` of them have been consumed. Short fields are consumed one by one, as they come.
RequestReader::Step RequestReader::check_header_size(std::string_view bytes, size_t used) {
  header_read_ += used;
  const size_t unread = parser_->is_header_done() ? 0 : bytes.size() - used;
  if (header_read_ + unread > header_bytes_) return refuse_header_size();
  if (parser_->fields() > kMaxFields) return refuse_fields();
  // A field is consumed whole, so a fold is never cut in two.
  if (has_folded_line(bytes.substr(0, used))) return refuse_folded();
  return Step::more;
}

RequestReader::Step RequestReader::refuse_header_size() {
  return refuse(431, fmt::format("the header has more than {} bytes", header_bytes_));
}

// By the length that it has been given: the header was handed out first, as who may not ask at all
// need not know this.
bool RequestReader::body_fits() const {
  return parser_->content_length().value_or(0) <= body_bytes_;
}

RequestReader::Step RequestReader::refuse_body_size() {
  return refuse(413, fmt::format("the body has more than {} bytes", body_bytes_));
}

RequestReader::Step RequestReader::refuse_chunk_head() {
  return refuse(431,
                fmt::format("a body's chunk extensions, or its trailer, have more than {} bytes",
                            header_bytes_));
}

RequestReader::Step RequestReader::refuse_fields() {
  return refuse(431, fmt::format("there are more than {} header fields", kMaxFields));
}

RequestReader::Step RequestReader::refuse_folded() {
  return refuse(400, "a header field goes on in a second line; it has to stand in one");
}

RequestReader::Step RequestReader::refuse(int status, std::string message) {
  status_ = status;
  message_ = std::move(message);
  if (!header_done_) copy_fields();
  return Step::refused;
}

void RequestReader::copy_fields() {
  for (const auto& field : parser_->get()) {
    if (request_.headers.size() == kMaxFields) return;
    request_.headers.add(std::string(field.name_string()), std::string(field.value()));
  }
}

RequestReader::Step RequestReader::check_header() {
  const auto& header = parser_->get();
  request_.method = std::string(header.method_string());
  copy_fields();
  const Headers& fields = request_.headers;

  if (header.version() != 10 && header.version() != 11) {
    return refuse(505, "this is not HTTP/1.1 or HTTP/1.0");
  }
  if (fields.count("Host") > 1 || (http11() && fields.count("Host") == 0)) {
    return refuse(400, "a request has one Host field");
  }
  const std::string_view length = fields["Content-Length"];
  const bool digits =
      std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; });
  const int lengths = fields.count("Content-Length"), codings = fields.count("Transfer-Encoding");
  if (lengths > 1 || !digits || (lengths == 1 && length.empty())) {
    return refuse(400, "Content-Length has to be one number");
  }
  if (codings > 0 && (codings > 1 || lengths > 0 || !http11())) {
    return refuse(400, "Transfer-Encoding stands alone, without Content-Length, in HTTP/1.1");
  }
  if (codings > 0 && !equal_names(fields["Transfer-Encoding"], "chunked")) {
    return refuse(501, "of transfer codings only \"chunked\" is understood");
  }
  if (fields.count("Expect") > 0 && !equal_names(fields["Expect"], "100-continue")) {
    return refuse(417, "only \"100-continue\" can be expected");
  }
  request_.host = std::string(fields["Host"]);
  if (!set_target(std::string_view(header.target().data(), header.target().size()))) {
    return refuse(400, "the target is not a path");
  }
  return Step::header;
}

// "/path?query", "http://host/path?query" as a proxy's client writes it, or "*" of OPTIONS.
bool RequestReader::set_target(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size() || !equal_names(target.substr(0, scheme.size()), scheme)) {
      continue;
    }
    const size_t end = std::min(target.find_first_of("/?", scheme.size()), target.size());
    request_.host = std::string(target.substr(scheme.size(), end - scheme.size()));
    target.remove_prefix(end);
    if (target.empty()) target = "/";
  }
  if (target == "*" && request_.method == "OPTIONS") {
    request_.path = std::string(target);
    return true;
  }
  if (target.empty() || target[0] != '/' || target.find('#') != target.npos) return false;
  const size_t question = target.find('?');
  request_.path = std::string(target.substr(0, question));
  if (question != target.npos) request_.query = std::string(target.substr(question + 1));
  return true;
}

bool RequestReader::http11() const {
  return parser_->get().version() == 11;
}
bool RequestReader::keep_alive() const {
  return parser_->get().keep_alive();
}
bool RequestReader::wants_continue() const {
  return http11() && request_.headers.count("Expect") > 0 && wants_body() && body_fits();
}
bool RequestReader::wants_body() const {
  return !parser_->is_done();
}
bool RequestReader::head() const {
  return request_.method == "HEAD";
}
uint64_t RequestReader::body_received() const {
  return parser_->get().body().size();
}

Request RequestReader::take() {
  request_.body = std::move(parser_->get().body());
  return std::move(request_);
}

}  // namespace anser::http
