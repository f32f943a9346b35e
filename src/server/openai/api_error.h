// What a client did wrong, or what the server cannot do, in the shape of OpenAI's errors.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "base/cut_text.h"

namespace anser::openai {

using Json = nlohmann::ordered_json;

// `param` names the field that is to blame, `messages[2].content` for one further down; empty:
// none. What a client sent is repeated to it cut short, and no error has more than kMostErrorBytes,
// whatever its message.
inline constexpr size_t kMostErrorBytes = 1024;

class ApiError : public std::runtime_error {
 public:
  ApiError(int status, std::string type, const std::string& message, std::string param = {},
           std::string code = {})
      : std::runtime_error(cut_text(message, kMostErrorBytes)),
        status_(status),
        type_(std::move(type)),
        param_(cut_text(param)),
        code_(std::move(code)) {}

  static ApiError bad_field(const std::string& param, const std::string& message) {
    return {400, "invalid_request_error", cut_text(param) + ": " + message, param};
  }
  static ApiError not_found(const std::string& message, const std::string& code) {
    return {404, "invalid_request_error", message, {}, code};
  }
  // Not even a place to wait in is left.
  static ApiError busy(const std::string& message) {
    return {429, "rate_limit_error", message, {}, "queue_full"};
  }
  // There was one, but not the time.
  static ApiError unavailable(const std::string& message) {
    return {503, "server_error", message, {}, "overloaded"};
  }

  int status() const { return status_; }
  const std::string& code() const { return code_; }

  // {"error": {"message", "type", "param", "code"}}, in at most kMostErrorBytes.
  std::string body() const;

 private:
  // With at most so many characters of the message, and of the field's name.
  std::string body(size_t characters) const;

  int status_;
  std::string type_, param_, code_;
};

}  // namespace anser::openai
