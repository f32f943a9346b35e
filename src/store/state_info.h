// What a store knows of a state, and the file that it stands in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace anser {

// The tag of what a server keeps of its own accord, answers that may be gone on from.
inline constexpr char kResponseTag[] = "response";

inline constexpr size_t kMaxNote = 64 * 1024;  // bytes of a note

// What people can change. A state with a name or a tag other than kResponseTag is pinned: it is
// never evicted.
struct StateLabels {
  // One state at a time has a name. Empty: none. UTF-8 of at most 100 bytes without control
  // characters, not in the form of an id. As it is a segment of addresses (/v1/states/NAME) it has
  // no / and no \ in it, and is neither "." nor ".."; stores of earlier versions may have such
  // names, under which their states are still found, and which they keep until they get another.
  std::string name;
  std::vector<std::string> tags;  // of 1 to 100 such bytes; kept in order, each once
  std::string note;               // any JSON of at most 64 KiB; empty: none
};

struct StateInfo {
  std::string id;      // state_id.h
  std::string parent;  // what it was forked or continued from, kept when that is removed; or empty
  StateLabels labels;
  double created = 0, last_used = 0;         // seconds since 1970
  uint64_t tokens = 0;                       // read since the beginning of the context
  uint64_t fingerprint = 0;                  // of the model
  std::string model;                         // its name, for people; may be empty
  uint64_t raw_bytes = 0, stored_bytes = 0;  // as a state file, and compressed
  uint64_t checksum = 0;                     // of the state file
  // The id in the name of the file with the bytes: the state's own, or that of the one it is a fork
  // of.
  std::string content;

  bool pinned() const;
};

// Puts tags and note into the form in which they are kept. Throws Error for what StateLabels does
// not allow. `before`: what the state had so far.
void normalize(StateLabels& labels, const StateLabels& before = {});

// The text of a record file, docs/formats.md: all but last_used.
std::string to_record(const StateInfo& info);
// last_used is when it was created. Throws Error that begins with `source` for anything that
// to_record() does not write.
StateInfo parse_record(std::span<const std::byte> bytes, const std::string& source);

}  // namespace anser
