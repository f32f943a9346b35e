// Web pages are no clients of this server, unless they are its own or an option names them.
//
// A browser sends requests for whatever page is open in it, to 127.0.0.1 as to any address, and a
// page whose name is pointed at that address later (DNS rebinding) reads the answers as its own. A
// key keeps such pages out, since browsers never add it by themselves. Without a key all but
// /health is refused
//
//   403  where the request's host is neither localhost nor an IP address nor an allowed name: under
//        any other name the page that asks may be anybody's
//   403  of a page of another origin, which browsers name in Origin, or tell by Sec-Fetch-Site.
//   Only
//        a link may lead to the server's own page
//   415  of a page, with a body of a type that a form could send, or none: that asks for no leave
//
// Programs send neither Origin nor Sec-Fetch-Site, and are not kept from anything but wrong hosts.
//
// Pages of origins that are let in get the fields of CORS
// (https://fetch.spec.whatwg.org/#cors-protocol) with every answer, errors included, with or
// without a key.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/server.h"

namespace anser {

struct WebPolicyOptions {
  bool with_key = false;                        // every client needs one
  std::vector<std::string> allowed_hosts = {};  // each as host_name() gives it
  std::vector<std::string> cors_origins = {};   // each as origin_name() gives it, or kAnyOrigin
};

inline constexpr char kAnyOrigin[] = "*";

// The host of "name:8080", "192.168.1.5" or "[::1]:80", in lower case, without its port and without
// a dot at its end; "" where it is none.
std::string host_name(std::string_view host);
bool is_ip_address(std::string_view host_name);

// "HTTP://Name:80" as browsers write it in Origin, "http://name"; "" where it is no origin: that
// has no path, and "null" is many.
std::string origin_name(std::string_view text);

class WebPolicy {
 public:
  explicit WebPolicy(WebPolicyOptions options) : options_(std::move(options)) {}

  // Before the body is read; http::Options::refusal.
  std::optional<http::Refusal> refusal(const http::Request& header) const;
  // http::Options::answer_fields.
  http::Headers answer_fields(const http::Request& header, bool whole) const;
  // Answers what browsers ask before requests of other origins' pages, and hands on the rest.
  http::Handler answering_preflights(http::Handler next) const;

 private:
  bool host_allowed(const std::string& host) const;
  bool let_in(std::string_view origin) const;
  bool foreign(const http::Request& header) const;

  const WebPolicyOptions options_;
};

}  // namespace anser
