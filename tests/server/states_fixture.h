// A service with a store of states, and what its tests ask of both.
#pragma once

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "server/service_fixture.h"

namespace anser {

class StatesTest : public ServiceTest {
 protected:
  static std::string text_of(const Json& answer, size_t i = 0) {
    return answer["choices"][i]["text"];
  }
  // Of the state that a choice has kept: of all its numbers, bit for bit.
  std::string checksum(const Json& answer, size_t i = 0) {
    return get("/v1/states/" + answer["choices"][i]["state"].get<std::string>())["checksum"];
  }
  Json upload(const std::string& bytes, const std::string& query = "", int status = 200) {
    std::string request = http::post("/v1/states" + query, bytes);
    request.insert(request.find("\r\n") + 2, "Content-Type: application/octet-stream\r\n");
    return json(ask(request), status);
  }
  std::string download(const std::string& id) {
    const Answer answer = ask(http::get("/v1/states/" + id + "/content"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers["Content-Type"], "application/octet-stream");
    return answer.body;
  }
  static std::string file_of(const State& state) {
    const std::vector<std::byte> bytes = state.serialize();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  static State state_of(const std::string& file) {
    return State::deserialize(std::as_bytes(std::span(file)), "a file");
  }
  // With the checksum that a state file of these numbers has.
  static std::string sealed(std::string file) {
    const uint64_t checksum = XXH3_64bits(file.data(), file.size() - 8);
    return file.replace(file.size() - 8, 8, reinterpret_cast<const char*>(&checksum), 8);
  }
  size_t stored() { return get("/v1/states")["data"].size(); }
};

}  // namespace anser
