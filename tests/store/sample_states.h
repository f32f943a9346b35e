// States to store, and the files of a store.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "anser/state.h"
#include "base/splitmix64.h"
#include "store/state_info.h"

namespace support {

inline constexpr anser::StateShape kStateShape = {
    .layers = 2, .width = 32, .heads = 2, .head_size = 16};
inline constexpr uint64_t kFingerprint = 0x0123456789abcdef;

// A state after n tokens, full of numbers that hardly compress; the same ones for the same n.
inline anser::State state_after(uint64_t n) {
  anser::State state(kStateShape, kFingerprint);
  uint64_t random = n;
  float* numbers = state.att_shift(0);
  for (size_t i = 0; i < kStateShape.floats(); ++i) {
    numbers[i] = float(int64_t(anser::splitmix64(random))) * 0x1p-63f;
  }
  for (int i = 0; i < 20; ++i) state.logits().push_back(float(i) - float(n));
  state.advance(n);
  return state;
}

inline std::vector<std::string> ids_of(const std::vector<anser::StateInfo>& list) {
  std::vector<std::string> ids;
  for (const anser::StateInfo& info : list) ids.push_back(info.id);
  return ids;
}

// Whose names end so.
inline std::set<std::string> files_of(const std::string& folder, const std::string& end) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(end)) names.insert(name);
  }
  return names;
}

}  // namespace support
