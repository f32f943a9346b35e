// A place where states are kept: a folder (state_store.h), or a Redis server.
//
// A stored state never changes. It has an id, which nobody can guess; labels, which people give it
// and can change; and the id of the state that it was made from, so that all of them form trees.
//
// A state whose id put() or fork() has returned is there until it is removed or evicted. Functions
// may be called from several threads at once, and throw Error, which says what, where, and what to
// do; one of store_errors.h where it is not about what the caller has given.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "anser/state.h"
#include "store/content_reader.h"
#include "store/state_info.h"
#include "store/store_errors.h"

namespace anser {

// All that is given must fit.
struct StateFilter {
  std::string tag = {};
  std::string parent = {};                   // an id: its children
  std::optional<uint64_t> fingerprint = {};  // of a model
};

// Which part of a list.
struct PageOptions {
  static constexpr size_t kMost = 1000;

  std::string after;       // the id of a state: what comes behind it; empty: from the beginning
  std::string go_on = {};  // in its place StatePage::next, good also when states have been removed
  size_t limit = kMost;    // of states
  bool newest_first = false;
};
struct StatePage {
  std::vector<StateInfo> states;
  bool more = false;  // behind them
  std::string next;   // where the next page begins
};

class States {
 public:
  virtual ~States() = default;

  // Returns the new id. `model`: the name of its model. `parent`: the id of what the state was
  // continued from, or empty; it need not be there any more. `id`: for those who had to name it
  // before it was there, from new_state_id() (state_id.h). Looks at the state's numbers, so nobody
  // may be working with it meanwhile.
  virtual std::string put(const State& state, const std::string& model,
                          const std::string& parent = "", const StateLabels& labels = {},
                          const std::string& id = "") = 0;

  // Another id for the same state, its child, with labels of its own. It takes no more room.
  virtual std::string fork(const std::string& id, const StateLabels& labels = {}) = 0;

  // A copy of the state. It has been found undamaged, the one that was put, and a state of `model`.
  virtual State get(const std::string& id, const Model& model) = 0;
  // The same for those who have no model at hand.
  virtual State get(const std::string& id) = 0;

  // The state file, to be read in pieces.
  virtual std::unique_ptr<ContentReader> content(const StateInfo& info) = 0;

  // By id, or else by name.
  virtual std::optional<StateInfo> find(const std::string& id_or_name) = 0;
  // In order of creation.
  virtual std::vector<StateInfo> list(const StateFilter& filter = {}) = 0;
  // A part of that. It may be shorter than it could be, where notes are long. Throws Error when
  // there is no state `after`.
  virtual StatePage page(const StateFilter& filter, const PageOptions& options) = 0;

  // Takes the place of all labels.
  virtual void relabel(const std::string& id, StateLabels labels) = 0;

  // Its children stay, and keep the id as their parent's. Bytes go with the last state that shares
  // them.
  virtual void remove(const std::string& id) = 0;

  // Of states that are kept in memory as well.
  virtual uint64_t ram_bytes() = 0;
};

}  // namespace anser
