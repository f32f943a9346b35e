// What every store does with a state, wherever it keeps the bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "anser/state.h"
#include "store/state_info.h"
#include "store/states.h"

namespace anser {

// A state on its way into a store.
struct PackedState {
  StateInfo info;                     // with a new id, which is its content's, too
  std::vector<std::byte> file;        // the state file
  std::vector<std::byte> compressed;  // what is kept of it
};

// `id`: the new id, or empty: any. Throws Error for labels that StateLabels does not allow, and for
// an id or a parent that is none.
PackedState pack_state(const State& state, const std::string& model, const std::string& parent,
                       const StateLabels& labels, const std::string& id);

// Of a fork of `source`. Throws Error for labels that StateLabels does not allow.
StateInfo info_of_fork(const StateInfo& source, const StateLabels& labels);

// The state out of `compressed`. Throws Error that begins with `where` unless that is exactly what
// pack_state() made for `info`.
std::shared_ptr<const State> unpack_state(std::span<const std::byte> compressed,
                                          const StateInfo& info, const std::string& where);

// The same out of the file at `path`, which is read whole.
std::shared_ptr<const State> load_packed(const std::string& path, const StateInfo& info);

// Puts states on a page as they come from a store, in its order.
class PageFiller {
 public:
  PageFiller(const StateFilter& filter, size_t limit) : filter_(filter), limit_(limit) {}
  // False: the page is full, and this one does not stand on it any more. `place`: for a next page
  // to begin behind it.
  bool add(StateInfo&& info, std::string place);
  StatePage take() { return std::move(page_); }

 private:
  const StateFilter& filter_;
  const size_t limit_;
  size_t bytes_ = 0;  // of notes
  StatePage page_;
};

// All of the filter but the parent.
bool fits(const StateInfo& info, const StateFilter& filter);

[[noreturn]] void fail_unknown_state(const std::string& id, const std::string& where);
[[noreturn]] void fail_id_taken(const std::string& id);
[[noreturn]] void fail_name_taken(const std::string& name, const std::string& holder);

double seconds_since_1970();

}  // namespace anser
