// Bytes of a connection: nothing but requests and refusals come of them, and the same ones however
// the bytes are cut. The first byte says how they are.
#include <algorithm>
#include <string>

#include "base/check.h"
#include "cost.h"
#include "server/http/request_reader.h"

namespace {

using anser::http::Request;
using anser::http::RequestReader;

constexpr uint32_t kHeaderBytes = 2000;
constexpr uint64_t kBodyBytes = 5000;

std::string described(const Request& request) {
  std::string text = request.method + ' ' + request.path + '?' + request.query + '\n';
  for (const auto& [name, value] : request.headers) text += name + ": " + value + '\n';
  // Whatever a router does with it.
  const auto segments = anser::http::path_segments(request.path);
  if (segments) {
    for (const std::string& segment : *segments) {
      ANSER_CHECK(segment != "." && segment != ".." && segment.find('/') == std::string::npos);
      text += segment + '|';
    }
  }
  text += request.parameter("a").value_or("-");
  return text + '\n' + request.body;
}

// What the connection's first request is, read in pieces of so many bytes and fewer.
std::string read(std::string_view bytes, size_t piece, unsigned shake) {
  RequestReader reader(kHeaderBytes, kBodyBytes);
  std::string rest;
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), 1 + (shake = shake * 75 + 74) % 65537 % piece);
    rest += bytes.substr(0, count);
    bytes.remove_prefix(count);
    RequestReader::Step step;
    do {
      size_t used = 0;
      step = reader.read(rest, used);
      ANSER_CHECK(used <= rest.size());
      rest.erase(0, used);
    } while (step == RequestReader::Step::header);
    if (step == RequestReader::Step::refused) {
      ANSER_CHECK(!reader.message().empty());
      return std::to_string(reader.status());
    }
    if (step == RequestReader::Step::done) {
      ANSER_CHECK(reader.body_received() <= kBodyBytes);
      return described(reader.take());
    }
  }
  return "more";
}

bool accepted(const std::string& outcome) {
  const bool is_status = outcome.size() == 3 && outcome[0] >= '4' && outcome[0] <= '5';
  return outcome != "more" && !is_status;
}

// What is broken near its end Beast may refuse at once, or wait for more first. It must not be
// taken for a good request then.
void check_same(const std::string& whole, std::string_view bytes, size_t piece, unsigned shake) {
  const std::string cut = read(bytes, piece, shake);
  if (cut == whole) return;
  ANSER_CHECK(!accepted(whole) && !accepted(cut));
  const std::string ended = std::string(bytes) + "\r\n\r\n";
  ANSER_CHECK(!accepted(read(ended, piece, shake)));
  ANSER_CHECK(!accepted(read(ended, ended.size() + 1, 0)));
}

void read_in_pieces(std::string_view bytes, uint8_t cuts) {
  const std::string whole = read(bytes, bytes.size() + 1, 0);
  check_same(whole, bytes, 1, 0);
  check_same(whole, bytes, 2 + cuts % 32, cuts);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  // Read up to six times, once byte by byte.
  fuzz::bound_cost(
      "a connection", size, [&] { read_in_pieces(bytes, data[0]); }, 10);
  if (fuzz::grows(data, size)) {
    const std::string many = fuzz::repeated(bytes);
    fuzz::bound_cost(
        "many requests", many.size(), [&] { read(many, 1000, data[0]); }, 10);
  }
  return 0;
}
