// What the commands of `anser state` share.
#pragma once

#include <optional>
#include <string>

#include "store/state_store.h"

namespace CLI {
class App;
}

namespace anser {

struct StoreOptions {
  std::string folder;  // empty: not given

  void add_to(CLI::App& command);
};

// Where the store is: `given`, or else where all commands look for it. Throws Error where there is
// no place for it.
std::string state_folder(const std::string& given);

// A command about one state.
struct OneState {
  StoreOptions store;
  std::string id;

  void add_to(CLI::App& command);
};

// The store of the options, opened; what is wrong with it is said on stderr.
class OpenStore {
 public:
  explicit OpenStore(const StoreOptions& options);
  StateStore* operator->() { return &store_; }
  const std::string& folder() const { return folder_; }

  // By id, name, or the first characters of an id. Throws Error.
  StateInfo find(const std::string& text);

 private:
  const std::string folder_;
  StateStore store_;
};

// ls, show, log, diff: state_show.cpp.
void add_state_ls(CLI::App& state);
void add_state_show(CLI::App& state);
void add_state_log(CLI::App& state);
void add_state_diff(CLI::App& state);

}  // namespace anser
