// What the commands of `anser state` share.
#pragma once

#include <optional>
#include <string>

#include "store/open_states.h"

namespace CLI {
class App;
}

namespace anser {

// Where the store is.
struct StoreOptions {
  std::string folder;  // empty: not given
  std::string server;  // redis://..., or empty

  void add_to(CLI::App& command);
  void add_to(CLI::App& command, const std::string& folder_help);

  // For open_states(): what was given, or else where all commands look. Throws Error where there is
  // no place for it or what was given is no address.
  std::string address() const;
  // Whether somebody has said that states shall be kept there.
  bool given() const;
  // Whether address() is that of a Redis server.
  bool in_redis() const;
};

// A command about one state.
struct OneState {
  StoreOptions store;
  std::string id;

  void add_to(CLI::App& command);
};

// The store of the options, opened; what is wrong with it is said on stderr.
class OpenStore {
 public:
  enum class Use {
    look,    // nothing is made or written
    change,  // what is there: a name that was mistyped makes no store
    add,
  };
  OpenStore(const StoreOptions& options, Use use);
  States* operator->() { return store_.states.get(); }
  States& states() { return *store_.states; }
  const std::string& where() const { return store_.where; }

  // By id, name, or the first characters of an id. Throws Error.
  StateInfo find(const std::string& text);
  // Throws Error where a state has the name; an empty one is none.
  void check_free(const std::string& name);

 private:
  const OpenedStates store_;
};

// ls, show, log, diff: state_show.cpp.
void add_state_ls(CLI::App& state);
void add_state_show(CLI::App& state);
void add_state_log(CLI::App& state);
void add_state_diff(CLI::App& state);

}  // namespace anser
