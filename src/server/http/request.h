// One request, complete: it is handed out when its last byte has come.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http/headers.h"

namespace anser::http {

struct Request {
  std::string method;  // as sent, "GET"
  std::string path;    // as sent, still percent-encoded; begins with '/', or is "*"
  std::string query;   // as sent, without '?'
  Headers headers;     // those before the body; trailers are dropped
  std::string body;    // without its transfer coding
  std::string peer;    // the client's address, without its port

  // What counts the body in Options::all_body_bytes until the last copy of the request is gone.
  std::shared_ptr<const void> body_share;

  // Set by the router: what stood for {id} in the route's pattern, decoded. See router.h.
  std::vector<std::pair<std::string, std::string>> captures;
  const std::string& capture(std::string_view name) const;  // it must be part of the pattern

  // The first value of that name in the query, decoded, '+' being a space. Nothing when it is
  // missing or not decodable.
  std::optional<std::string> parameter(std::string_view name) const;
  // All of them.
  std::vector<std::string> parameters(std::string_view name) const;
};

// "%41" becomes "A". Nothing when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> percent_decoded(std::string_view text);

// The segments of a path, decoded after it was cut at '/', so that no decoded '/' cuts. Nothing
// when one of them could mean something to a file system or is no text: ".", "..", a '/' or '\',
// a control character, a broken escape.
std::optional<std::vector<std::string>> path_segments(std::string_view path);

}  // namespace anser::http
