// From bytes to text: always valid UTF-8, at most 3 bytes behind, and the same however the bytes
// are cut; with and without a stop string. The first byte of the input says how long the stop
// string is that follows, the second seeds the cuts, the rest is text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "anser/error.h"
#include "base/check.h"
#include "engine/text_stream.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

Outcome stream(const std::string& bytes, const std::vector<std::string>& stops, uint32_t cuts) {
  anser::TextStream text_stream(stops);
  Outcome outcome;
  for (size_t at = 0; at < bytes.size();) {
    cuts = cuts * 1664525 + 1013904223;
    const size_t size = std::min<size_t>(cuts >> 29, bytes.size() - at);
    outcome.text += text_stream.push(std::string_view(bytes).substr(at, size), outcome.stopped);
    ANSER_CHECK(anser::is_valid_utf8(outcome.text));
    if (outcome.stopped) return outcome;
    at += size;
  }
  outcome.text += text_stream.finish();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t stop_size = std::min<size_t>(data[0] % 16, size - 2);
  const std::string rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string stop = rest.substr(0, stop_size), bytes = rest.substr(stop_size);

  anser::Utf8Stream utf8;
  std::string whole;
  for (size_t i = 0; i < bytes.size(); ++i) {
    utf8.push(bytes.substr(i, 1), whole);
    // The longest beginning of a character is 3 bytes, and every byte before it is in the text.
    ANSER_CHECK(whole.size() + 3 >= i + 1);
  }
  utf8.flush(whole);
  ANSER_CHECK(anser::is_valid_utf8(whole));
  ANSER_CHECK(!anser::is_valid_utf8(bytes) || whole == bytes);

  // A text leaves out a character that has only begun: it comes first in what goes on from there.
  const std::string text = anser::whole_characters(bytes);
  ANSER_CHECK(whole.starts_with(text));
  ANSER_CHECK((stream(bytes, {}, data[1]) == Outcome{text, false}));
  try {
    const Outcome outcome = stream(bytes, {stop}, data[1]);
    ANSER_CHECK(outcome == stream(bytes, {stop}, data[1] + 1u));
    const size_t found = text.find(stop);
    ANSER_CHECK(outcome.text == text.substr(0, found));
  } catch (const anser::Error&) {  // an empty or ill-formed stop string
  }
  return 0;
}
