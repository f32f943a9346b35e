// anser state: states in a store, from the command line. What changes the store is here, what only
// looks in state_show.cpp.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>

#include "anser/error.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/options.h"
#include "cli/state_commands.h"
#include "store/redis_url.h"

namespace anser {
namespace {

struct LabelOptions {
  std::optional<std::string> name, note;
  std::vector<std::string> tags;

  void add_to(CLI::App& command) {
    command.add_option("--name", name, "a name, which one state at a time can have");
    command.add_option("--tag", tags, "a tag; may be given several times")->allow_extra_args(false);
    command.add_option("--note", note, "any JSON");
  }
  StateLabels labels() const { return {name.value_or(""), tags, note.value_or("")}; }
};

// ---- save ----

struct SaveOptions {
  StoreOptions store;
  ModelOptions model;
  LabelOptions labels;
  std::string file, parent;
  std::optional<std::string> prompt;
};

void save_command(const SaveOptions& options) {
  OpenStore store(options.store);
  StateLabels labels = options.labels.labels();
  normalize(labels);  // before minutes are spent on a prompt
  const std::string parent = options.parent.empty() ? "" : store.find(options.parent).id;
  if (!options.prompt) {
    std::string name;
    State state;
    if (options.model.model.empty()) {
      state = State::load(options.file);
    } else {
      const Model model = open_model(options.model);
      state = model.load_state(options.file);
      name = model.name();
    }
    write_out(store->put(state, name, parent, labels) + "\n");
    return;
  }
  const InterruptGuard guard;
  const LoadedModel loaded = load_model(options.model);
  const Tokenizer& tokenizer = loaded.model.tokenizer();
  const std::string text = *options.prompt == "-" ? read_prompt() : *options.prompt;
  // As `anser run` begins.
  const std::vector<Token> tokens =
      parent.empty() ? tokenizer.encode_document(text) : tokenizer.encode(text);
  State state = parent.empty() ? loaded.model.initial_state() : store->get(parent, loaded.model);
  feed(*loaded.engine, state, tokens);
  write_out(store->put(state, loaded.model.name(), parent, labels) + "\n");
}

void add_save(CLI::App& state) {
  auto options = std::make_shared<SaveOptions>();
  CLI::App* command = state.add_subcommand(
      "save", "put a state file, or the state after a prompt, into the store; prints the new id");
  options->store.add_to(*command);
  command->add_option("FILE", options->file,
                      "a state file; with -m also a tuned initial state, and the model is checked");
  command->add_option("-p,--prompt", options->prompt,
                      "instead of a file: a text that the model reads; -: standard input");
  command->add_option("--parent", options->parent,
                      "the state that it comes from; the text of -p continues it");
  options->labels.add_to(*command);
  options->model.add_to(*command);
  command->callback([options] {
    if (options->file.empty() == !options->prompt) {
      throw CLI::ValidationError("give a state file, or a text with -p, and not both");
    }
    save_command(*options);
  });
}

// ---- load ----

struct LoadOptions : OneState {
  std::string out;
};

void add_load(CLI::App& state) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App* command =
      state.add_subcommand("load", "write a state to a file, as `anser run --load-state` takes it");
  options->add_to(*command);
  command->add_option("-o,--output", options->out, "the file")->required();
  command->callback([options] {
    OpenStore store(options->store);
    store->get(store.find(options->id).id).save(options->out);
  });
}

// ---- fork, label, rm ----

struct ForkOptions : OneState {
  LabelOptions labels;
};

void add_fork(CLI::App& state) {
  auto options = std::make_shared<ForkOptions>();
  CLI::App* command = state.add_subcommand(
      "fork", "another id for the same state, its child; takes no room; prints the new id");
  options->add_to(*command);
  options->labels.add_to(*command);
  command->callback([options] {
    OpenStore store(options->store);
    write_out(store->fork(store.find(options->id).id, options->labels.labels()) + "\n");
  });
}

struct RelabelOptions : ForkOptions {
  std::vector<std::string> untag;
};

void add_label(CLI::App& state) {
  auto options = std::make_shared<RelabelOptions>();
  CLI::App* command = state.add_subcommand(
      "label", "change name, tags or note; an empty name or note takes it away");
  options->add_to(*command);
  options->labels.add_to(*command);
  command->add_option("--untag", options->untag, "take this tag away; may be given several times")
      ->allow_extra_args(false);
  command->callback([options] {
    OpenStore store(options->store);
    const StateInfo info = store.find(options->id);
    StateLabels labels = info.labels;
    if (options->labels.name) labels.name = *options->labels.name;
    if (options->labels.note) labels.note = *options->labels.note;
    for (const std::string& tag : options->labels.tags) labels.tags.push_back(tag);
    for (const std::string& tag : options->untag) std::erase(labels.tags, tag);
    store->relabel(info.id, labels);
  });
}

struct RmOptions {
  StoreOptions store;
  std::vector<std::string> ids;
};

void add_rm(CLI::App& state) {
  auto options = std::make_shared<RmOptions>();
  CLI::App* command =
      state.add_subcommand("rm", "remove states; their children stay, and remember them");
  options->store.add_to(*command);
  command->add_option("ID", options->ids, "ids, first characters of ids, or names")->required();
  command->callback([options] {
    OpenStore store(options->store);
    std::set<std::string> ids;  // found before the first one goes
    for (const std::string& id : options->ids) ids.insert(store.find(id).id);
    for (const std::string& id : ids) store->remove(id);
  });
}

}  // namespace

std::string StoreOptions::address() const {
  if (!folder.empty() && !server.empty()) {
    throw CLI::ValidationError("states are kept in one place: give --state-dir or --state-store");
  }
  if (!server.empty()) {
    parse_redis_url(server);  // what is no address is no name of a folder, either
    return server;
  }
  if (!folder.empty()) return folder;
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string address = variable("ANSER_STATE_STORE"); !address.empty()) {
    parse_redis_url(address);
    return address;
  }
  if (const std::string dir = variable("ANSER_STATE_DIR"); !dir.empty()) return dir;
  // A relative one is to be ignored, says the specification.
  if (const std::string base = variable("XDG_STATE_HOME"); base.starts_with('/')) {
    return base + "/anser/states";
  }
  const std::string home = variable("HOME");
  if (home.empty()) throw Error("no place for states: HOME is not set; give --state-dir DIR");
  return home + "/.local/state/anser/states";
}

bool StoreOptions::given() const {
  return !folder.empty() || !server.empty() || std::getenv("ANSER_STATE_STORE") != nullptr;
}

void StoreOptions::add_to(CLI::App& command, const std::string& folder_help) {
  command.add_option("--state-dir", folder, folder_help);
  command.add_option(
      "--state-store", server,
      "instead of a folder a Redis server that several share: "
      "redis://[user:password@]host[:port][/database]; better in $ANSER_STATE_STORE, "
      "for the list of processes shows passwords");
}

void StoreOptions::add_to(CLI::App& command) {
  add_to(command,
         "the store's folder; without it: $ANSER_STATE_DIR, or else $XDG_STATE_HOME/anser/states, "
         "or else ~/.local/state/anser/states");
}

void OneState::add_to(CLI::App& command) {
  store.add_to(command);
  command.add_option("ID", id, "an id, the first characters of one, or a name")->required();
}

OpenStore::OpenStore(const StoreOptions& options) : store_(open_states(options.address())) {
  for (const std::string& problem : store_.problems) say("anser: {}", problem);
}

StateInfo OpenStore::find(const std::string& text) {
  if (std::optional<StateInfo> info = store_.states->find(text)) return *std::move(info);
  constexpr size_t kFewest = 4;  // characters; fewer tempt to accidents
  std::vector<StateInfo> all;
  if (text.size() >= kFewest) all = store_.states->list();
  std::erase_if(all, [&](const StateInfo& info) { return !info.id.starts_with(text); });
  if (all.size() == 1) return all[0];
  throw Error(all.empty() ? fmt::format("{}: no state has the id or the name {}; `anser state ls` "
                                        "lists what there is",
                                        where(), text)
                          : fmt::format("{}: the ids of {} states begin with {}; give more of it",
                                        where(), all.size(), text));
}

void add_state(CLI::App& app) {
  CLI::App* state = app.add_subcommand("state", "keep states in a store: list, fork, compare them");
  state->require_subcommand(1);
  add_state_ls(*state);
  add_state_show(*state);
  add_save(*state);
  add_load(*state);
  add_fork(*state);
  add_label(*state);
  add_rm(*state);
  add_state_log(*state);
  add_state_diff(*state);
}

}  // namespace anser
