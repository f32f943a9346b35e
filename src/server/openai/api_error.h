// What a client did wrong, or what the server cannot do, in the shape of OpenAI's errors.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace anser::openai {

using Json = nlohmann::ordered_json;

// `param` names the field that is to blame, `messages[2].content` for one further down; empty:
// none.
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, std::string type, const std::string& message, std::string param = {},
           std::string code = {})
      : std::runtime_error(message),
        status_(status),
        type_(std::move(type)),
        param_(std::move(param)),
        code_(std::move(code)) {}

  static ApiError bad_field(const std::string& param, const std::string& message) {
    return {400, "invalid_request_error", param + ": " + message, param};
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

  // {"error": {"message", "type", "param", "code"}}
  std::string body() const;

 private:
  int status_;
  std::string type_, param_, code_;
};

}  // namespace anser::openai
