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
  std::string host;    // of a target "http://host:port/path", else the Host field
  Headers headers;     // those before the body; trailers are dropped
  std::string body;    // without its transfer coding
  std::string peer;    // the client's address, without its port
  std::string client;  // empty; for handlers that find out who asks
  // Its body is counted in Options::all_body_bytes for as long as a copy of this lives.
  std::shared_ptr<void> counted = {};

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
// when an escape is broken, or when there is no '/' at the beginning.
std::optional<std::vector<std::string>> decoded_segments(std::string_view path);

// Whether a segment means nothing to a file system and is text: neither "." nor "..", without '/',
// '\' and control characters.
bool is_harmless(std::string_view segment);

// Whether a text is of harmless segments, none of them empty, with '/' between them: what a route's
// {name...} stands for (router.h).
bool is_path_of_segments(std::string_view text);

// Those of a path, all harmless, or nothing.
std::optional<std::vector<std::string>> path_segments(std::string_view path);

}  // namespace anser::http
