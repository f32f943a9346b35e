// What an input may cost: processor time per byte, above a constant that everything small stays
// below. Where cost grows with the square of the input, small inputs do not show it, so now and
// then a target reads what its input makes when it is repeated up to a size at which squares are
// seen.
#pragma once

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

// Sanitizers and coverage make everything slower, unoptimised builds, too.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr double kSlower = 10;
#else
constexpr double kSlower = 2;
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlower = 10;
#else
constexpr double kSlower = 2;
#endif

constexpr double kConstant = 0.05;  // seconds: tables that are made once, and a busy machine
constexpr double kMicrosecondsPerByte = 0.5;  // what a reader may take, unless it says otherwise
constexpr size_t kGrown = 256 << 10;          // bytes of a repeated input

// Of this thread alone, so that a busy machine is no find.
inline double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// Runs `read`, and ends the program when that has cost too much for so many bytes, twice: the first
// time may pay for what is made once.
template <typename Read>
void bound_cost(const char* what, size_t bytes, Read read,
                double microseconds_per_byte = kMicrosecondsPerByte) {
  const double bound = kSlower * (kConstant + 1e-6 * microseconds_per_byte * double(bytes));
  double seconds = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const double begin = processor_seconds();
    read();
    seconds = processor_seconds() - begin;
    if (seconds <= bound) return;
  }
  std::fprintf(stderr, "%s: %zu bytes cost %.2f s of the processor, expected at most %.2f s\n",
               what, bytes, seconds, bound);
  std::abort();
}

// Whether this input is to be repeated: every committed seed where they are all that is read, and
// one input in 64 where a fuzzer looks for others, whose time would go into nothing else.
inline bool grows(const uint8_t* data, size_t size) {
  if (size == 0 || size > 4096) return false;
#ifdef ANSER_REPLAY_SEEDS
  return true;
#endif
  uint32_t hash = 2166136261;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 16777619;
  return (hash >> 8) % 64 == 0;
}

// Times it stands in kGrown bytes.
inline size_t repetitions(size_t size, size_t grown = kGrown) {
  return size < grown ? grown / (size + 1) : 1;
}

inline std::string repeated(std::string_view piece, size_t grown = kGrown) {
  std::string text;
  for (size_t i = repetitions(piece.size(), grown); i > 0; --i) text += piece;
  return text;
}

// An object with the fields of this one, as far as it is one, and many of other names.
inline std::string with_keys(std::string_view text, size_t grown = kGrown) {
  const size_t end = text.rfind('}');
  std::string object(text.substr(0, end == std::string_view::npos ? 0 : end));
  if (object.empty()) object = "{\"prompt\":\"a\"";
  for (size_t i = 0; object.size() < grown; ++i) object += ",\"k" + std::to_string(i) + "\":0";
  return object + '}';
}

// An object with many keys, lists of it in fields that requests have, and a field of many keys.
inline std::vector<std::string> grown_json(std::string_view text) {
  std::vector<std::string> bodies;
  bodies.push_back(with_keys(text));
  for (const char* field : {"prompt", "messages", "input", "tools", "stop"}) {
    std::string list = std::string("{\"") + field + "\":[";
    for (size_t i = repetitions(text.size()); i > 1; --i) list.append(text) += ',';
    bodies.push_back(list.append(text) + "]}");
  }
  std::string metadata = "{\"input\":\"a\",\"prompt\":\"a\",\"metadata\":{\"\":0";
  for (size_t i = 0; metadata.size() < kGrown; ++i) {
    metadata += ",\"" + std::to_string(i) + "\":\"\"";
  }
  bodies.push_back(metadata + "}}");
  return bodies;
}

}  // namespace fuzz
