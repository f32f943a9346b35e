#include "server/http/request_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace anser::http {

namespace beast = boost::beast::http;

struct RequestReader::Parser : beast::request_parser<beast::string_body> {};

RequestReader::RequestReader(uint32_t header_bytes, uint64_t body_bytes)
    : parser_(std::make_unique<Parser>()), header_bytes_(header_bytes), body_bytes_(body_bytes) {
  parser_->header_limit(header_bytes);
  parser_->body_limit(body_bytes);
  parser_->eager(false);  // stop at the end of the header, to look at it
}

RequestReader::~RequestReader() = default;

RequestReader::Step RequestReader::read(std::string_view bytes, size_t& used) {
  used = 0;
  // Beast 1.81 knows the last chunk's head from "0\r\n" on, and asserts that it is shown five bytes
  // from then on. No body ends in fewer.
  const bool cut_off = bytes.size() < 5 && bytes.starts_with("0\r\n");
  if (header_done_ && parser_->chunked() && cut_off) return Step::more;
  if (!bytes.empty() && !parser_->is_done()) {
    boost::system::error_code error;
    used = parser_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    if (error == beast::error::header_limit) {
      return refuse(431, fmt::format("the header has more than {} bytes", header_bytes_));
    }
    if (error == beast::error::body_limit) {
      return refuse(413, fmt::format("the body has more than {} bytes", body_bytes_));
    }
    if (error == beast::error::bad_version) return refuse(505, "this is not HTTP/1.1 or HTTP/1.0");
    if (error && error != beast::error::need_more) {
      return refuse(400, "the request is not HTTP: " + error.message());
    }
  }
  if (!parser_->is_header_done()) return Step::more;
  if (!header_done_) {
    header_done_ = true;
    parser_->eager(true);
    if (const Step step = check_header(); step == Step::refused || !parser_->is_done()) return step;
  }
  return parser_->is_done() ? Step::done : Step::more;
}

RequestReader::Step RequestReader::refuse(int status, std::string message) {
  status_ = status;
  message_ = std::move(message);
  return Step::refused;
}

RequestReader::Step RequestReader::check_header() {
  const auto& header = parser_->get();
  request_.method = std::string(header.method_string());
  for (const auto& field : header) {
    request_.headers.add(std::string(field.name_string()), std::string(field.value()));
  }
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
    target.remove_prefix(std::min(target.find_first_of("/?", scheme.size()), target.size()));
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
  return http11() && request_.headers.count("Expect") > 0;
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
