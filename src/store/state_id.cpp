#include "store/state_id.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "anser/error.h"

namespace anser {
namespace {

constexpr size_t kLength = 26;
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
static_assert(kAlphabet.size() == 32, "five bits of a random byte choose one");

}  // namespace

std::string new_state_id() {
  uint8_t random[kLength];
  ssize_t got;
  do {
    got = getrandom(random, sizeof(random), 0);
  } while (got < 0 && errno == EINTR);
  if (got != ssize_t(sizeof(random))) {
    throw Error(fmt::format("the system gives no random numbers: {}", std::strerror(errno)));
  }
  std::string id;
  for (const uint8_t byte : random) id += kAlphabet[byte % 32];
  return id;
}

bool is_state_id(std::string_view text) {
  return text.size() == kLength && std::all_of(text.begin(), text.end(), [](char c) {
           return kAlphabet.find(c) != std::string_view::npos;
         });
}

}  // namespace anser
