#include "server/http/router.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/cut_text.h"

namespace anser::http {
namespace {

bool is_capture(const std::string& part) {
  return part.size() > 2 && part.front() == '{' && part.back() == '}';
}

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  return std::equal(pattern.begin(), pattern.end(), path.begin(), path.end(),
                    [](const std::string& part, const std::string& segment) {
                      return is_capture(part) ? !segment.empty() : part == segment;
                    });
}

}  // namespace

void Router::add(std::string method, std::string_view pattern, Handler handler) {
  const auto parts = path_segments(pattern);
  ANSER_CHECK(parts && handler);
  routes_.push_back({std::move(method), *parts, std::move(handler)});
}

const Router::Route* Router::find(const std::string& method,
                                  const std::vector<std::string>& path) const {
  const auto found = std::find_if(routes_.begin(), routes_.end(), [&](const Route& route) {
    return route.method == method && matches(route.pattern, path);
  });
  return found == routes_.end() ? nullptr : &*found;
}

void Router::operator()(Request request, std::shared_ptr<Reply> reply) const {
  const auto path = path_segments(request.path);
  if (!path) {
    return reply->error(400,
                        "the path has a segment that is \".\", \"..\" or not decodable, or has a "
                        "slash, a backslash or a control character in it");
  }
  if (!percent_decoded(request.query)) {
    return reply->error(400, "the query has a % without two hexadecimal digits behind it");
  }
  const Route* route = find(request.method, *path);
  if (!route && request.method == "HEAD") route = find("GET", *path);
  if (route) {
    for (size_t i = 0; i < path->size(); ++i) {
      const std::string& part = route->pattern[i];
      if (is_capture(part))
        request.captures.emplace_back(part.substr(1, part.size() - 2), (*path)[i]);
    }
    return route->handler(std::move(request), std::move(reply));
  }

  std::string allowed;
  for (const Route& other : routes_) {
    if (!matches(other.pattern, *path)) continue;
    allowed += (allowed.empty() ? "" : ", ") + other.method;
    if (other.method == "GET") allowed += ", HEAD";
  }
  if (allowed.empty()) return reply->error(404, "there is nothing at this path");
  reply->error(405, fmt::format("this path takes {}, not {}", allowed, cut_text(request.method)),
               {{"Allow", allowed}});
}

}  // namespace anser::http
