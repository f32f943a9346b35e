#include "cli/web_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

namespace anser {
namespace {

std::string checked_host(const std::string& text) {
  const std::string name = host_name(text);
  if (name.empty() || text.find(':') != text.npos) {
    throw CLI::ValidationError(
        "--allowed-host",
        fmt::format("\"{}\" is no name; expected one like gpu.example, without port", text));
  }
  return name;
}

std::string checked_origin(const std::string& text, bool with_key) {
  if (text == kAnyOrigin) {
    if (with_key) return text;
    throw CLI::ValidationError("--cors-origin",
                               "* lets every web page in; that needs an API key (--api-key)");
  }
  const std::string name = origin_name(text);
  if (name.empty()) {
    throw CLI::ValidationError(
        "--cors-origin",
        fmt::format("\"{}\" is no origin; expected one like http://localhost:3000, without path",
                    text));
  }
  return name;
}

}  // namespace

void WebFlags::add_to(CLI::App& command) {
  command
      .add_option("--allowed-host", allowed_hosts,
                  "a name, beside localhost and IP addresses, that clients without a key may call "
                  "this server by; repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--cors-origin", cors_origins,
                  "let the web pages of an origin in, as http://localhost:3000; repeatable. With "
                  "an API key *: of all")
      ->allow_extra_args(false);
}

WebPolicyOptions WebFlags::policy(const std::string& listening, bool with_key) const {
  WebPolicyOptions options;
  options.with_key = with_key;
  for (const std::string& host : allowed_hosts) {
    options.allowed_hosts.push_back(checked_host(host));
  }
  if (const std::string own = host_name(listening); !own.empty()) {
    options.allowed_hosts.push_back(own);
  }
  for (const std::string& origin : cors_origins) {
    options.cors_origins.push_back(checked_origin(origin, with_key));
  }
  return options;
}

}  // namespace anser
