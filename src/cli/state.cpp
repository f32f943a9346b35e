// anser state: states in a store, from the command line. What changes the store is here, what only
// looks in state_show.cpp.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>

#include "anser/error.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/load_state.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/signals.h"
#include "cli/state_commands.h"
#include "model/state_file.h"
#include "store/each_state.h"
#include "store/packed_state.h"
#include "store/redis_url.h"

namespace anser {
namespace {

struct LabelOptions {
  std::optional<std::string> name, note;
  std::vector<std::string> tags;

  // `removable`: an empty name or note takes away what there is.
  void add_to(CLI::App& command, bool removable = false) {
    CLI::Option* texts[] = {
        command.add_option("--name", name,
                           "a name, which one state at a time can have; without / and \\"),
        command.add_option("--note", note, "any JSON")};
    command.add_option("--tag", tags, "a tag; may be given several times")->allow_extra_args(false);
    if (!removable) return;
    for (CLI::Option* option : texts) may_be_empty(option);
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

// Without a model: only what says itself whose state it is.
State load_state_file(const std::string& path) {
  const auto bytes = read_state_file(path);
  if (!bytes) {
    throw Error(
        fmt::format("{} is not an anser state file: it does not begin with ANSERST. For a tuned "
                    "initial state name its model with -m",
                    path));
  }
  State state = State::deserialize(*bytes, path);
  say_if_unknown(state, path);
  return state;
}

void save_command(const SaveOptions& options) {
  OpenStore store(options.store, OpenStore::Use::add);
  StateLabels labels = options.labels.labels();
  // Before minutes are spent on a prompt.
  normalize(labels);
  store.check_free(labels.name);
  const std::string parent = options.parent.empty() ? "" : store.find(options.parent).id;
  if (!options.prompt) {
    std::string name;
    State state;
    options.model.adapters.need_model(options.model.model);
    if (options.model.model.empty()) {
      state = load_state_file(options.file);
    } else {
      const Model model = open_model(options.model);
      state = load_state(model, options.file);
      state.belongs_to(model.sketch());  // it is said to
      name = model.name();
    }
    write_out(store->put(state, name, parent, labels) + "\n");
    return;
  }
  const LoadedModel loaded = load_model(options.model);
  const InterruptGuard guard;
  const Tokenizer& tokenizer = loaded.model.tokenizer();
  const std::string text = *options.prompt == "-" ? read_prompt() : *options.prompt;
  const std::vector<Token> tokens =
      parent.empty() ? tokenizer.encode_document(text) : tokenizer.encode(text);
  if (tokens.empty() && !parent.empty()) {
    throw CLI::ValidationError(
        "--prompt",
        "it is empty, and would add nothing to the parent; `anser state fork` makes a "
        "second id for a state");
  }
  State state = parent.empty() ? loaded.model.initial_state() : store->get(parent, loaded.model);
  if (!parent.empty()) say_if_unknown(state, fmt::format("the state {}", parent));
  feed(*loaded.engine, state, tokens);
  write_out(store->put(state, loaded.model.name(), parent, labels) + "\n");
}

// A file's state is read by no engine, and without a model there is nobody for a vocabulary.
void refuse_for_files(const SaveOptions& options, const CLI::App& command) {
  if (options.prompt) return;
  for (const char* name : {"--threads", "--device", "--state16", "--invariant", "--vocab"}) {
    if (command.get_option(name)->empty()) continue;
    throw CLI::ValidationError(name, "it is for the text of -p; a state file is put in as it is");
  }
}

void add_save(CLI::App& state) {
  auto options = std::make_shared<SaveOptions>();
  CLI::App* command = state.add_subcommand(
      "save", "put a state file, or the state after a prompt, into the store; prints the new id");
  options->store.add_to(*command);
  command->add_option("FILE", options->file,
                      "a state file; with -m also a tuned initial state, and the model is checked");
  may_be_empty(
      command->add_option("-p,--prompt", options->prompt,
                          "instead of a file: a text that the model reads; -: standard input"));
  command->add_option("--parent", options->parent,
                      "the state that it comes from; the text of -p continues it");
  options->labels.add_to(*command);
  options->model.add_to(*command);
  command->callback([options, command] {
    if (options->file.empty() == !options->prompt) {
      throw CLI::ValidationError("give a state file, or a text with -p, and not both");
    }
    refuse_for_files(*options, *command);
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
    OpenStore store(options->store, OpenStore::Use::look);
    const StateInfo info = store.find(options->id);
    check_output("--output", options->out, {});
    store->get(info.id).save(options->out);
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
    OpenStore store(options->store, OpenStore::Use::change);
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
  options->labels.add_to(*command, true);
  command->add_option("--untag", options->untag, "take this tag away; may be given several times")
      ->allow_extra_args(false);
  command->callback([options] {
    const LabelOptions& given = options->labels;
    if (!given.name && !given.note && given.tags.empty() && options->untag.empty()) {
      throw CLI::ValidationError("nothing to change: give --name, --tag, --untag or --note");
    }
    OpenStore store(options->store, OpenStore::Use::change);
    const StateInfo info = store.find(options->id);
    StateLabels labels = info.labels;
    if (given.name) labels.name = *given.name;
    if (given.note) labels.note = *given.note;
    for (const std::string& tag : given.tags) labels.tags.push_back(tag);
    for (const std::string& tag : options->untag) {
      if (std::erase(labels.tags, tag) == 0) {
        throw Error(fmt::format("the state {} has no tag {}", info.id, tag));
      }
    }
    store->relabel(info.id, labels);
  });
}

void add_rm(CLI::App& state) {
  auto options = std::make_shared<OneState>();
  CLI::App* command = state.add_subcommand(
      "rm", "remove one or several states; their children stay, and remember them");
  options->add_to(*command);
  // Not a list of IDs: to CLI11 the name "[a]" would be a list of its own, with the name "a" in it.
  command->allow_extras();
  command->callback([options, command] {
    std::vector<std::string> wanted = command->remaining();
    std::erase(wanted, "--");  // ID may be what follows it
    for (const std::string& word : wanted) {
      if (word.empty()) throw CLI::ValidationError("ID", "the value is empty: give one");
      if (!word.starts_with('-')) continue;
      throw CLI::ValidationError(
          fmt::format("{} is no option; a state with such a name goes alone, after --", word));
    }
    wanted.insert(wanted.begin(), options->id);
    OpenStore store(options->store, OpenStore::Use::change);
    std::set<std::string> ids;  // found before the first one goes
    for (const std::string& id : wanted) ids.insert(store.find(id).id);
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
  if (const std::string address = from_environment("ANSER_STATE_STORE"); !address.empty()) {
    parse_redis_url(address);
    return address;
  }
  if (const std::string dir = from_environment("ANSER_STATE_DIR"); !dir.empty()) return dir;
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  // A relative one is to be ignored, says the specification.
  if (const std::string base = variable("XDG_STATE_HOME"); base.starts_with('/')) {
    return base + "/anser/states";
  }
  const std::string home = variable("HOME");
  if (home.empty()) throw Error("no place for states: HOME is not set; give --state-dir DIR");
  return home + "/.local/state/anser/states";
}

bool StoreOptions::given() const {
  return !folder.empty() || !server.empty() || !from_environment("ANSER_STATE_STORE").empty();
}

bool StoreOptions::in_redis() const {
  return is_redis_url(address());
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

OpenStore::OpenStore(const StoreOptions& options, Use use)
    : store_(open_states(options.address(),
                         {.read_only = use == Use::look,
                          .make = use == Use::add,
                          .notice = [](const std::string& text) { say("anser: {}", text); }})) {
  for (const std::string& problem : store_.problems) say("anser: {}", problem);
}

void OpenStore::check_free(const std::string& name) {
  if (name.empty()) return;
  if (const std::optional<StateInfo> holder = store_.states->find(name)) {
    fail_name_taken(name, holder->id);
  }
}

StateInfo OpenStore::find(const std::string& text) {
  if (std::optional<StateInfo> info = store_.states->find(text)) return *std::move(info);
  constexpr size_t kFewest = 4;  // characters; fewer tempt to accidents
  std::optional<StateInfo> first;
  size_t found = 0;
  if (text.size() >= kFewest) {
    for_each_state(*store_.states, {}, [&](StateInfo&& info) {
      if (info.id.starts_with(text) && found++ == 0) first = std::move(info);
    });
  }
  if (found == 1) return *std::move(first);
  throw Error(found == 0 ? fmt::format("{}: no state has the id or the name {}; `anser state ls` "
                                       "lists what there is",
                                       where(), text)
                         : fmt::format("{}: the ids of {} states begin with {}; give more of it",
                                       where(), found, text));
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
