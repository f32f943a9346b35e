#include "store/packed_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/read_file.h"
#include "formats/checks.h"
#include "store/content.h"
#include "store/state_id.h"

namespace anser {
namespace {

// Of all notes on a page, each of which may have 64 KiB: it ends there, however few states it has.
constexpr size_t kMostNotes = 4 << 20;

}  // namespace

bool PageFiller::add(StateInfo&& info, std::string place) {
  if (!fits(info, filter_)) return true;
  if (page_.states.size() == limit_ || bytes_ > kMostNotes) {
    page_.more = true;
    return false;
  }
  bytes_ += info.labels.note.size();
  page_.states.push_back(std::move(info));
  page_.next = std::move(place);
  return true;
}

PackedState pack_state(const State& state, const std::string& model, const std::string& parent,
                       const StateLabels& labels, const std::string& id) {
  PackedState packed;
  StateInfo& info = packed.info;
  info.labels = labels;
  normalize(info.labels);
  if (!parent.empty() && !is_state_id(parent)) {
    throw Error(fmt::format("{} cannot be the parent of a state: it is no id", printable(parent)));
  }
  info.parent = parent;
  if (!id.empty() && !is_state_id(id)) {
    throw Error(fmt::format("{} cannot be the id of a new state: it is no id", printable(id)));
  }
  info.id = info.content = id.empty() ? new_state_id() : id;
  info.created = info.last_used = seconds_since_1970();
  info.tokens = state.tokens();
  info.fingerprint = state.fingerprint();
  info.model = model;

  packed.file = state.serialize();
  packed.compressed = compress_state_file(packed.file);
  info.raw_bytes = packed.file.size();
  info.stored_bytes = packed.compressed.size();
  info.checksum = checksum_of(packed.file);
  return packed;
}

StateInfo info_of_fork(const StateInfo& source, const StateLabels& labels) {
  StateInfo info = source;
  info.labels = labels;
  normalize(info.labels);
  info.parent = source.id;
  info.id = new_state_id();
  info.created = info.last_used = seconds_since_1970();
  return info;
}

std::shared_ptr<const State> unpack_state(std::span<const std::byte> compressed,
                                          const StateInfo& info, const std::string& where) {
  const std::vector<std::byte> file = decompress_state_file(compressed, info.raw_bytes, where);
  auto state = std::make_shared<const State>(State::deserialize(file, where));
  if (checksum_of(file) != info.checksum || state->fingerprint() != info.fingerprint ||
      state->tokens() != info.tokens) {
    fail(where,
         "not the content of the state {}: {} tokens and checksum {:016x}, expected {} and {:016x}",
         info.id, state->tokens(), checksum_of(file), info.tokens, info.checksum);
  }
  return state;
}

std::shared_ptr<const State> load_packed(const std::string& path, const StateInfo& info) {
  // Compression makes nothing so much larger; what is too long is found to be damaged.
  constexpr uint64_t kMore = uint64_t(1) << 20;
  return unpack_state(read_file(path, info.raw_bytes + kMore), info, path);
}

bool fits(const StateInfo& info, const StateFilter& filter) {
  const auto& tags = info.labels.tags;
  if (!filter.tag.empty() && std::find(tags.begin(), tags.end(), filter.tag) == tags.end()) {
    return false;
  }
  return !filter.fingerprint || info.fingerprint == *filter.fingerprint;
}

void fail_unknown_state(const std::string& id, const std::string& where) {
  const std::string told = fmt::format("there is no state {}", printable(id));
  throw UnknownState(fmt::format("{} in {}", told, where), told);
}

void fail_id_taken(const std::string& id) {
  const std::string told = fmt::format("{} cannot be the id of a new state: it is taken", id);
  throw StoreFailed(told, told);
}

void fail_name_taken(const std::string& name, const std::string& holder) {
  const std::string told = fmt::format("the state {} has the name {} already", holder, name);
  throw NameTaken(told, told);
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace anser
