// Schemas, by themselves and as the parameters of functions: anything but an Error is a bug; and
// what a grammar allows, chosen by the input's own bytes, must have a way on until it is complete,
// and be JSON then. What it costs is bounded, however large the input is: a few bytes are also
// taken as a schema of up to a megabyte, in which a part comes again and again.
#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "anser/constraint.h"
#include "anser/error.h"
#include "base/check.h"
#include "grammar/compile_budget.h"

namespace {

// Texts are at most this long, and cost at most so much work; then no end is looked for.
constexpr int kMaxText = 300;
constexpr size_t kMaxUnits = 2'000'000;

double thread_seconds() {
  timespec time;
  ANSER_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

// The clock is looked at from time to time, and what is not compiling has a bound by its size.
template <class Compile>
auto compiled_in_time(size_t bytes, Compile&& compile) {
  struct Watch {
    size_t bytes;
    double begin = thread_seconds();
    ~Watch() {
      const double most = anser::CompileBudget::kMaxSeconds;
      ANSER_CHECK(thread_seconds() - begin < 1.5 * most + double(bytes) * most * 1e-6);
    }
  };
  const Watch watch{bytes};
  return compile();
}

// "*", two bytes that choose a part of the rest: that part as often as there is room in a megabyte.
std::string swollen(const std::string& text) {
  if (text.size() < 5 || text[0] != '*') return text;
  const std::string rest = text.substr(3);
  const size_t begin = uint8_t(text[1]) * rest.size() / 256;
  const size_t length = 1 + uint8_t(text[2]) * (rest.size() - begin - 1) / 256;
  const size_t most = (rest.size() % 2 == 0 ? size_t(1) << 20 : size_t(250) << 10) - rest.size();
  std::string whole = rest.substr(0, begin);
  for (size_t i = 0; i < std::min<size_t>(most / length, 100'000); ++i) {
    whole.append(rest, begin, length);
  }
  return whole + rest.substr(begin);
}

// An error is short, whatever it speaks of.
void check_error(const anser::Error& error) {
  ANSER_CHECK(std::string_view(error.what()).size() <= 1024);
}

// Returns what is complete; else nothing.
std::string write(anser::ConstraintMatcher matcher, const std::string& choices) {
  std::string text;
  size_t units = kMaxUnits;
  for (size_t i = 0; i < size_t(kMaxText) && matcher.open(); ++i) {
    if (matcher.complete() && i % 2 == 0) break;
    while (units > 0 && !matcher.prepare(units)) continue;
    if (units == 0) return "";
    const std::span<const uint64_t> allowed = matcher.allowed();
    std::vector<char> bytes;
    for (int byte = 0; byte < 256; ++byte) {
      if (allowed[size_t(byte) / 64] >> byte % 64 & 1) bytes.push_back(char(byte));
    }
    ANSER_CHECK(!bytes.empty());
    const char byte =
        bytes[(uint8_t(choices[i % choices.size()]) + i / choices.size()) % bytes.size()];
    ANSER_CHECK(matcher.accept({&byte, 1}));
    text += byte;
  }
  if (!matcher.complete()) return "";
  ANSER_CHECK(nlohmann::json::accept(text));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text = swollen({reinterpret_cast<const char*>(data), size});
  static const anser::Tokenizer bytes = anser::Tokenizer::bytes();
  try {
    const auto compile = [&] { return anser::Constraint::json_schema(bytes, 256, text); };
    write(anser::ConstraintMatcher(compiled_in_time(text.size(), compile)), text);
  } catch (const anser::Error& error) {
    check_error(error);
  }
  try {
    const auto compile = [&] { return anser::Constraint::json_schema(bytes, 256, text, false); };
    write(anser::ConstraintMatcher(compiled_in_time(text.size(), compile)), text);
  } catch (const anser::Error& error) {
    check_error(error);
  }
  try {
    const anser::Constraint::Function functions[] = {{"f", text}, {"g", ""}};
    const auto compile = [&] { return anser::Constraint::json_call(bytes, 256, functions); };
    const std::string call =
        write(anser::ConstraintMatcher(compiled_in_time(text.size(), compile)), text);
    ANSER_CHECK(call.empty() || nlohmann::json::parse(call).at("arguments").is_object());
  } catch (const anser::Error& error) {
    check_error(error);
  }
  return 0;
}
