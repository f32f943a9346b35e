#include "server/http/router.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/check.h"
#include "base/cut_text.h"

namespace anser::http {
namespace {

using Segments = std::vector<std::string>;

constexpr char kBadPath[] =
    "the path has a segment that is \".\", \"..\" or not decodable, or has a slash, a backslash or "
    "a control character in it";
constexpr char kBadQuery[] = "the query has a % without two hexadecimal digits behind it";

bool is_capture(std::string_view part) {
  return part.size() > 2 && part.front() == '{' && part.back() == '}';
}

constexpr std::string_view kRest = "...}";
bool is_rest(std::string_view part) {
  return is_capture(part) && part.ends_with(kRest);
}

// What a {name...} at place `i` stands for.
std::string rest_of(const Segments& path, size_t i) {
  return fmt::format("{}", fmt::join(path.begin() + std::ptrdiff_t(i), path.end(), "/"));
}

bool matches(const Segments& pattern, const Segments& path) {
  const bool rest = is_rest(pattern.back());
  if (rest ? path.size() < pattern.size() : path.size() != pattern.size()) return false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const std::string &part = pattern[i], &segment = path[i];
    if (is_rest(part)) return is_path_of_segments(rest_of(path, i));
    if (is_capture(part) ? segment.empty() || !is_harmless(segment) : part != segment) return false;
  }
  return true;
}

}  // namespace

void Router::add(std::string method, std::string_view pattern, Handler handler,
                 Options::AskRefusal refusal) {
  const auto parts = path_segments(pattern);
  ANSER_CHECK(parts && handler);
  routes_.push_back({std::move(method), *parts, std::move(handler), std::move(refusal)});
}

Router::Found Router::find(const Request& request) const {
  const auto path = decoded_segments(request.path);
  if (!path) return {.refusal = {400, kBadPath}};
  if (!percent_decoded(request.query)) return {.refusal = {400, kBadQuery}};
  const Route* route = nullptr;
  std::string allowed;
  for (const Route& other : routes_) {
    if (!matches(other.pattern, *path)) continue;
    const bool is_get = other.method == "GET";
    // HEAD's own route counts before GET's.
    if (other.method == request.method && (!route || route->method != request.method)) {
      route = &other;
    }
    if (is_get && request.method == "HEAD" && !route) route = &other;
    allowed +=
        fmt::format("{}{}{}", allowed.empty() ? "" : ", ", other.method, is_get ? ", HEAD" : "");
  }
  if (!route && allowed.empty()) {
    const bool harmless = std::all_of(path->begin(), path->end(), is_harmless);
    if (!harmless) return {.refusal = {400, kBadPath}};
    return {.refusal = {404, "there is nothing at this path"}};
  }
  if (!route) {
    return {
        .refusal = {405,
                    fmt::format("this path takes {}, not {}", allowed, cut_text(request.method)),
                    {{"Allow", allowed}}}};
  }
  Found found{route, {}, {}};
  for (size_t i = 0; i < route->pattern.size(); ++i) {
    std::string_view name = route->pattern[i];
    if (!is_capture(name)) continue;
    const bool rest = is_rest(name);
    name = name.substr(1, name.size() - 1 - (rest ? kRest.size() : 1));
    found.captures.emplace_back(name, rest ? rest_of(*path, i) : (*path)[i]);
  }
  return found;
}

void Router::operator()(Request request, std::shared_ptr<Reply> reply) const {
  if (request.path == "*") return reply->send(204, "", "", {{"Allow", all_methods()}});
  Found found = find(request);
  if (!found.route) {
    return reply->error(found.refusal.status, found.refusal.message, found.refusal.fields);
  }
  request.captures = std::move(found.captures);
  found.route->handler(std::move(request), std::move(reply));
}

std::optional<Refusal> Router::refusal(const Request& header) const {
  if (header.path == "*") return Refusal{413, "OPTIONS * takes no body"};
  const Found found = find(header);
  if (!found.route) return found.refusal;
  return found.route->refusal ? found.route->refusal(header) : std::nullopt;
}

std::string Router::all_methods() const {
  Segments methods;
  const auto add = [&](const std::string& method) {
    if (std::find(methods.begin(), methods.end(), method) == methods.end()) {
      methods.push_back(method);
    }
  };
  for (const Route& route : routes_) {
    add(route.method);
    if (route.method == "GET") add("HEAD");
  }
  add("OPTIONS");
  return fmt::format("{}", fmt::join(methods, ", "));
}

}  // namespace anser::http
