#include "server/http/request.h"

#include <algorithm>

#include "base/check.h"

namespace anser::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Calls visit(part) for every part between separators, until it returns true.
template <class Visit>
void split(std::string_view text, char separator, Visit&& visit) {
  for (;;) {
    const size_t end = text.find(separator);
    if (visit(text.substr(0, end)) || end == text.npos) return;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::string> form_decoded(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return percent_decoded(spaced);
}

}  // namespace

const std::string& Request::capture(std::string_view name) const {
  const auto found = std::find_if(captures.begin(), captures.end(),
                                  [&](const auto& capture) { return capture.first == name; });
  ANSER_CHECK(found != captures.end());
  return found->second;
}

std::optional<std::string> Request::parameter(std::string_view name) const {
  std::optional<std::string> result;
  split(query, '&', [&](std::string_view pair) {
    const size_t equals = std::min(pair.find('='), pair.size());
    if (form_decoded(pair.substr(0, equals)) != name) return false;
    result = form_decoded(pair.substr(std::min(equals + 1, pair.size())));
    return true;
  });
  return result;
}

std::vector<std::string> Request::parameters(std::string_view name) const {
  std::vector<std::string> results;
  split(query, '&', [&](std::string_view pair) {
    const size_t equals = std::min(pair.find('='), pair.size());
    if (form_decoded(pair.substr(0, equals)) != name) return false;
    auto value = form_decoded(pair.substr(std::min(equals + 1, pair.size())));
    if (value) results.push_back(*std::move(value));
    return false;
  });
  return results;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    result += char(high * 16 + low);
    i += 2;
  }
  return result;
}

bool is_harmless(std::string_view segment) {
  return segment != "." && segment != ".." &&
         std::none_of(segment.begin(), segment.end(), [](unsigned char c) {
           return c < 0x20 || c == 0x7f || c == '/' || c == '\\';
         });
}

bool is_path_of_segments(std::string_view text) {
  bool good = true;
  split(text, '/', [&](std::string_view segment) {
    good = !segment.empty() && is_harmless(segment);
    return !good;
  });
  return good;
}

std::optional<std::vector<std::string>> decoded_segments(std::string_view path) {
  if (path.empty() || path[0] != '/') return std::nullopt;
  std::vector<std::string> segments;
  bool good = true;
  split(path.substr(1), '/', [&](std::string_view part) {
    std::optional<std::string> segment = percent_decoded(part);
    good = segment.has_value();
    if (good) segments.push_back(*std::move(segment));
    return !good;
  });
  if (!good) return std::nullopt;
  return segments;
}

std::optional<std::vector<std::string>> path_segments(std::string_view path) {
  auto segments = decoded_segments(path);
  if (segments && !std::all_of(segments->begin(), segments->end(), is_harmless)) segments.reset();
  return segments;
}

}  // namespace anser::http
