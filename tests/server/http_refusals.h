// Requests that a server with small limits must refuse.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "server/http/request_reader.h"
#include "server/http/server.h"
#include "server/http_client.h"

namespace anser::http {

// Small limits; errors as the API would want them.
inline Options tight() {
  Options options = any_port();
  options.header_bytes = 1000;
  options.body_bytes = 5000;
  options.error_body = [](int status, const std::string& message) {
    return ErrorBody{"application/json", "{\"error\":{\"code\":" + std::to_string(status) +
                                             ",\"message\":\"" + message + "\"}}"};
  };
  return options;
}

inline void accept_all(Request request, std::shared_ptr<Reply> reply) {
  reply->send(200, "text/plain", std::to_string(request.body.size()));
}

// The server answers `bytes` with `status` in the API's form, and closes.
inline void expect_refused(uint16_t port, const std::string& bytes, int status,
                           const std::string& message) {
  SCOPED_TRACE(bytes.substr(0, 120));
  Client client(port);
  client.send(bytes);
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, status);
  EXPECT_EQ(answer.headers["Content-Type"], "application/json");
  EXPECT_EQ(answer.headers["Connection"], "close");
  EXPECT_NE(answer.body.find("\"code\":" + std::to_string(status)), std::string::npos)
      << answer.body;
  EXPECT_NE(answer.body.find(message), std::string::npos) << answer.body;
  EXPECT_TRUE(client.at_end());
  EXPECT_FALSE(client.broken()) << "the client may lose the answer";
}

// Reads `bytes` in pieces that end where `cut` says; the first character tells how it went.
inline std::string read_in_pieces(std::string_view bytes,
                                  const std::function<size_t(size_t)>& cut) {
  RequestReader reader(1000, 5000);
  std::string rest;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.size(), cut(at));
    rest += bytes.substr(at, end - at);
    at = end;
    RequestReader::Step step;
    do {
      size_t used = 0;
      step = reader.read(rest, used);
      EXPECT_LE(used, rest.size());
      rest.erase(0, used);
    } while (step == RequestReader::Step::header);
    if (step == RequestReader::Step::refused) return "R" + std::to_string(reader.status());
    if (step == RequestReader::Step::done) {
      const Request request = reader.take();
      std::string text =
          "D" + request.method + request.path + "?" + request.query + request.body + "|";
      for (const auto& [name, value] : request.headers) text += name + "=" + value + ";";
      return text;
    }
  }
  return "M";
}

}  // namespace anser::http
