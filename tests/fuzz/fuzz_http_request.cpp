// Bytes of a connection: nothing but requests and refusals come of them, and the same ones however
// the bytes are cut, and what is kept of them is bounded whatever the pieces are. The first byte
// says how they are cut.
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
  const auto decoded = anser::http::decoded_segments(request.path);
  if (decoded) {
    // A rest of a path is one name.
    std::string name;
    for (const std::string& segment : *decoded) name += (name.empty() ? "" : "/") + segment;
    if (anser::http::is_path_of_segments(name)) {
      ANSER_CHECK(anser::http::path_segments("/" + name).has_value() ||
                  name.find('%') != std::string::npos);
    }
  }
  ANSER_CHECK(!segments || decoded == segments);
  if (segments) {
    for (const std::string& segment : *segments) {
      ANSER_CHECK(segment != "." && segment != ".." && segment.find('/') == std::string::npos);
      text += segment + '|';
    }
  }
  text += request.parameter("a").value_or("-");
  return text + '\n' + request.body;
}

// What a reader keeps while it wants more, and what a connection keeps for it.
void check_bounds(const RequestReader& reader, size_t header_read, size_t unread) {
  ANSER_CHECK(header_read <= kHeaderBytes && reader.body_received() <= kBodyBytes);
  ANSER_CHECK(unread <= (reader.header_done() ? RequestReader::most_unread(kHeaderBytes)
                                              : kHeaderBytes - header_read));
}

void check_header(const Request& header) {
  size_t bytes = header.method.size() + header.path.size() + header.query.size();
  for (const auto& [name, value] : header.headers) bytes += name.size() + value.size();
  ANSER_CHECK(bytes <= kHeaderBytes && header.headers.size() <= RequestReader::kMaxFields);
}

// What the connection's first request is, read in pieces of so many bytes and fewer; in one if
// there are not so many.
std::string read(std::string_view bytes, size_t piece, unsigned shake) {
  RequestReader reader(kHeaderBytes, kBodyBytes);
  std::string rest;
  size_t header_read = 0;
  while (!bytes.empty()) {
    shake = shake * 75 + 74;
    const size_t count =
        piece > bytes.size() ? bytes.size() : std::min(bytes.size(), 1 + shake % 65537 % piece);
    rest += bytes.substr(0, count);
    bytes.remove_prefix(count);
    RequestReader::Step step;
    do {
      size_t used = 0;
      const bool in_header = !reader.header_done();
      step = reader.read(rest, used);
      ANSER_CHECK(used <= rest.size());
      rest.erase(0, used);
      if (in_header) header_read += used;
    } while (step == RequestReader::Step::header);
    if (step == RequestReader::Step::more) check_bounds(reader, header_read, rest.size());
    if (step == RequestReader::Step::refused) {
      ANSER_CHECK(!reader.message().empty());
      return std::to_string(reader.status());
    }
    if (step == RequestReader::Step::done) {
      ANSER_CHECK(reader.body_received() <= kBodyBytes);
      check_header(reader.header());
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
