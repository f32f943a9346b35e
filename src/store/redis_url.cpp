#include "store/redis_url.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "formats/checks.h"

namespace anser {
namespace {

constexpr std::string_view kScheme = "redis://";

// `shown`: what may be shown of the text.
[[noreturn]] void refuse(std::string_view shown, std::string_view why) {
  throw Error(
      fmt::format("the address of the Redis server, ...{}: {}; expected "
                  "redis://[user:password@]host[:port][/database]",
                  printable(shown), why));
}

std::optional<int> number(std::string_view text, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most) {
    return std::nullopt;
  }
  return value;
}

std::string unescaped(std::string_view text, std::string_view shown) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    int byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte < 0) {
      refuse(shown, "a % in user or password is not followed by two hexadecimal digits");
    }
    out += char(byte);
    i += 2;
  }
  return out;
}

}  // namespace

std::string RedisUrl::where() const {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("redis://{}{}{}:{}/{}", v6 ? "[" : "", host, v6 ? "]" : "", port, database);
}

bool is_redis_url(std::string_view text) {
  return text.starts_with("redis:") || text.starts_with("rediss:");
}

RedisUrl parse_redis_url(std::string_view text) {
  const size_t at = text.rfind('@');
  std::string_view rest = at == std::string_view::npos ? text : text.substr(at + 1);
  const std::string_view shown = rest;
  if (text.starts_with("rediss:")) {
    refuse(shown, "TLS (rediss) is not spoken; put stunnel or a private network between");
  }
  if (!text.starts_with(kScheme)) refuse(shown, "it does not begin with redis://");

  RedisUrl url;
  if (at == std::string_view::npos) {
    rest.remove_prefix(kScheme.size());
  } else {
    const std::string_view who = text.substr(kScheme.size(), at - kScheme.size());
    const size_t colon = who.find(':');
    if (colon == std::string_view::npos) refuse(shown, "before the @ stands no user:password");
    url.user = unescaped(who.substr(0, colon), shown);
    url.password = unescaped(who.substr(colon + 1), shown);
    if (url.password.empty()) refuse(shown, "before the @ stands no password");
  }

  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos && slash + 1 < rest.size()) {
    const std::optional<int> database = number(rest.substr(slash + 1), 1'000'000);
    if (!database) refuse(shown, "the database is no number");
    url.database = *database;
  }
  rest = rest.substr(0, slash);

  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) refuse(shown, "a ] is missing");
    url.host = rest.substr(1, end - 1);
    rest = rest.substr(end + 1);
    has_port = rest.starts_with(':');
    if (!has_port && !rest.empty()) refuse(shown, "there is something behind the ]");
    if (has_port) port = rest.substr(1);
  } else {
    const size_t colon = rest.find(':');
    has_port = colon != std::string_view::npos;
    url.host = rest.substr(0, colon);
    if (has_port) port = rest.substr(colon + 1);
  }
  if (url.host.empty() || url.host.find('\0') != std::string::npos) {
    refuse(shown, "there is no host");
  }
  if (has_port) {
    const std::optional<int> value = number(port, 65535);
    // Not shown: without a host behind it, it is a password.
    if (!value || *value == 0) refuse(url.host, "the port is no number from 1 to 65535");
    url.port = *value;
  }
  return url;
}

}  // namespace anser
