#include "base/temporary_files.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstring>
#include <random>

namespace anser {
namespace {

constexpr std::string_view kPrefix = "anser-", kSuffix = ".new";
constexpr size_t kLetters = 16;

// A slot belongs to whoever has changed its stage, so that a signal handler never reads a path that
// another thread is writing.
enum Stage : int { free_slot, being_changed, noted, being_deleted };

struct Slot {
  std::atomic<int> stage{free_slot};
  char path[PATH_MAX];
};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler uses it");

// More than are ever written at the same time: threads of a server that store states.
std::array<Slot, 64> slots;

bool change(Slot& slot, int from, int to) {
  return slot.stage.compare_exchange_strong(from, to);
}

}  // namespace

std::string temporary_name_beside(const std::string& path) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device random;
  std::string name = path.substr(0, path.rfind('/') + 1);
  name += kPrefix;
  for (size_t i = 0; i < kLetters; ++i) name += kAlphabet[random() % kAlphabet.size()];
  name += kSuffix;
  return name;
}

bool is_temporary_name(std::string_view name) {
  return name.size() == kPrefix.size() + kLetters + kSuffix.size() && name.starts_with(kPrefix) &&
         name.ends_with(kSuffix);
}

int note_temporary_file(const std::string& path) {
  if (path.size() >= sizeof(Slot::path)) return -1;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!change(slots[i], free_slot, being_changed)) continue;
    std::memcpy(slots[i].path, path.c_str(), path.size() + 1);
    slots[i].stage = noted;
    return int(i);
  }
  return -1;
}

void forget_temporary_file(int which) {
  if (which >= 0) change(slots[size_t(which)], noted, free_slot);
}

void delete_temporary_files() noexcept {
  for (Slot& slot : slots) {
    if (change(slot, noted, being_deleted)) ::unlink(slot.path);
  }
}

}  // namespace anser
