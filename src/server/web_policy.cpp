#include "server/web_policy.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/cut_text.h"

namespace anser {
namespace {

using http::Headers;
using http::Request;

// For so long browsers need not ask again; Chromium's longest time.
constexpr char kPreflightSeconds[] = "7200";

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return result;
}

bool has_only(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != others.npos;
  });
}

bool is_port(std::string_view text) {
  return text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The port behind a host name in "name:80", "" when there is none.
std::string_view port_of(std::string_view host) {
  const size_t end = host.rfind(']');
  const size_t colon = host.find(':', end == host.npos ? 0 : end);
  return colon == host.npos ? std::string_view() : host.substr(colon + 1);
}

std::string_view usual_port(std::string_view scheme) {
  return scheme == "http" ? "80" : scheme == "https" ? "443" : "";
}

// Whether a page of that origin came from where its request goes to. A proxy may have taken TLS off
// in between.
bool same_origin(std::string_view origin, std::string_view host) {
  const size_t colon = origin.find("://");
  if (colon == origin.npos) return false;
  const std::string scheme = lower(origin.substr(0, colon));
  if (scheme != "http" && scheme != "https") return false;
  const std::string_view page = origin.substr(colon + 3);
  const auto port = [&](std::string_view at) {
    return port_of(at).empty() ? usual_port(scheme) : port_of(at);
  };
  const std::string name = host_name(page);
  return !name.empty() && name == host_name(host) && port(page) == port(host);
}

bool is_preflight(const Request& request) {
  return request.method == "OPTIONS" && request.headers.count("Origin") > 0 &&
         request.headers.count("Access-Control-Request-Method") > 0;
}

// A link that is followed, or an address typed in: the page is shown by itself, not within another.
bool opens_the_page(const Request& request) {
  return (request.method == "GET" || request.method == "HEAD") && request.path == "/" &&
         request.headers.count("Origin") == 0 && request.headers["Sec-Fetch-Mode"] == "navigate" &&
         request.headers["Sec-Fetch-Dest"] == "document";
}

// A page of any origin may send these without asking for leave before.
bool of_a_forms_type(const Headers& headers) {
  const std::string_view given = headers["Content-Type"];
  std::string type = lower(given.substr(0, given.find(';')));
  type.erase(std::remove_if(type.begin(), type.end(), [](char c) { return c == ' ' || c == '\t'; }),
             type.end());
  return headers.count("Content-Type") > 1 || type.empty() || type == "text/plain" ||
         type == "application/x-www-form-urlencoded" || type == "multipart/form-data";
}

bool has_body(const Headers& headers) {
  const std::string_view length = headers["Content-Length"];
  return headers.count("Transfer-Encoding") > 0 ||
         length.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

std::string host_name(std::string_view host) {
  std::string name;
  std::string_view rest;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == host.npos) return {};
    name = lower(host.substr(0, end + 1));
    rest = host.substr(end + 1);
    if (!is_ip_address(name)) return {};
  } else {
    const size_t end = std::min(host.find(':'), host.size());
    name = lower(host.substr(0, end));
    rest = host.substr(end);
    if (name.ends_with('.')) name.pop_back();
    if (!has_only(name, ".-_")) return {};
  }
  if (!rest.empty() && (rest[0] != ':' || !is_port(rest.substr(1)))) return {};
  return name;
}

bool is_ip_address(std::string_view host_name) {
  unsigned char address[16];
  if (host_name.starts_with('[') && host_name.ends_with(']')) {
    const std::string v6(host_name.substr(1, host_name.size() - 2));
    return inet_pton(AF_INET6, v6.c_str(), address) == 1;
  }
  return inet_pton(AF_INET, std::string(host_name).c_str(), address) == 1;
}

std::string origin_name(std::string_view text) {
  const size_t colon = text.find("://");
  if (colon == text.npos || colon == 0) return {};
  const std::string scheme = lower(text.substr(0, colon));
  const std::string_view host = text.substr(colon + 3);
  const std::string name = host_name(host);
  if (name.empty() || !has_only(scheme, "+-.")) return {};
  const std::string_view port = port_of(host);
  const bool usual = port.empty() || port == usual_port(scheme);
  return fmt::format("{}://{}{}{}", scheme, name, usual ? "" : ":", usual ? "" : port);
}

bool WebPolicy::host_allowed(const std::string& host) const {
  const std::string name = host_name(host);
  const auto& allowed = options_.allowed_hosts;
  return name == "localhost" || name.ends_with(".localhost") || is_ip_address(name) ||
         (!name.empty() && std::find(allowed.begin(), allowed.end(), name) != allowed.end());
}

bool WebPolicy::let_in(std::string_view origin) const {
  const auto& origins = options_.cors_origins;
  const std::string name = origin_name(origin);
  return std::any_of(origins.begin(), origins.end(), [&](const std::string& known) {
    return known == kAnyOrigin || (known == name && !name.empty());
  });
}

// Whether a browser has sent it for a page of another origin. "same-site" is one, too: another port
// of localhost may be anybody's.
bool WebPolicy::foreign(const Request& request) const {
  const Headers& headers = request.headers;
  if (headers.count("Origin") > 1 || headers.count("Sec-Fetch-Site") > 1) return true;
  if (headers.count("Origin") > 0) {
    if (let_in(headers["Origin"])) return false;
    if (!same_origin(headers["Origin"], request.host)) return true;
  }
  const std::string_view site = headers["Sec-Fetch-Site"];
  return !site.empty() && site != "same-origin" && site != "none";
}

std::optional<http::Refusal> WebPolicy::refusal(const Request& request) const {
  if (options_.with_key || request.path == "/health") return std::nullopt;
  const Headers& headers = request.headers;
  if (!host_allowed(request.host)) {
    return http::Refusal{
        403, fmt::format("the Host \"{}\" is neither localhost nor an IP address: under any other "
                         "name a web page could reach this server as its own. If the name is this "
                         "server's, start it with --allowed-host NAME, or with a key",
                         cut_text(request.host))};
  }
  if (foreign(request) && !opens_the_page(request)) {
    const std::string page = headers.count("Origin") > 0
                                 ? fmt::format("the origin \"{}\"", cut_text(headers["Origin"]))
                                 : "another origin (Sec-Fetch-Site)";
    return http::Refusal{
        403, fmt::format("this request comes from a web page of {}, which is not this server's: "
                         "--cors-origin ORIGIN lets one in. Behind a proxy that changes Host, "
                         "that is the page's own address, as http://NAME:PORT",
                         page)};
  }
  if (headers.count("Origin") > 0 && has_body(headers) && of_a_forms_type(headers)) {
    return http::Refusal{415,
                         fmt::format("a web page has to name the body's Content-Type: expected "
                                     "application/json, found \"{}\", which a form could send",
                                     cut_text(headers["Content-Type"]))};
  }
  return std::nullopt;
}

Headers WebPolicy::answer_fields(const Request& request, bool whole) const {
  Headers fields = {{"Cross-Origin-Resource-Policy", "same-origin"}, {"X-Frame-Options", "DENY"}};
  const auto& origins = options_.cors_origins;
  if (origins.empty()) return fields;
  const bool any = std::find(origins.begin(), origins.end(), kAnyOrigin) != origins.end();
  const bool preflight = is_preflight(request);
  fields.add("Vary", preflight ? "Origin, Access-Control-Request-Method, "
                                 "Access-Control-Request-Headers"
                               : "Origin");
  const std::string_view origin = request.headers["Origin"];
  if (request.headers.count("Origin") == 1 && let_in(origin)) {
    fields.add("Access-Control-Allow-Origin", any ? kAnyOrigin : std::string(origin));
  } else if (request.headers.count("Origin") == 0 && !whole && (any || origins.size() == 1)) {
    // The origin had not come yet. Browsers compare, so that it may be named to everybody.
    fields.add("Access-Control-Allow-Origin", origins.size() == 1 ? origins[0] : kAnyOrigin);
  } else {
    return fields;
  }
  fields.add("Access-Control-Expose-Headers",
             "Allow, Content-Disposition, Retry-After, WWW-Authenticate");
  if (!preflight) return fields;
  fields.add("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
  fields.add("Access-Control-Max-Age", kPreflightSeconds);
  // "*" would not stand for Authorization.
  const std::string_view wanted = request.headers["Access-Control-Request-Headers"];
  if (!wanted.empty() && has_only(wanted, ", !#$%&'*+-.^_`|~")) {
    fields.add("Access-Control-Allow-Headers", std::string(wanted));
  }
  if (request.headers["Access-Control-Request-Private-Network"] == "true") {
    fields.add("Access-Control-Allow-Private-Network", "true");
  }
  return fields;
}

http::Handler WebPolicy::answering_preflights(http::Handler next) const {
  return [policy = *this, next = std::move(next)](Request request,
                                                  std::shared_ptr<http::Reply> reply) {
    if (is_preflight(request) && policy.let_in(request.headers["Origin"])) {
      return reply->send(204, "", "");
    }
    next(std::move(request), std::move(reply));
  };
}

}  // namespace anser
