// anser state ls, show, log and diff: what there is in a store.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/read_json.h"
#include "cli/console.h"
#include "cli/numbers.h"
#include "cli/state_commands.h"
#include "cli/state_diff.h"
#include "cli/state_tree.h"
#include "store/each_state.h"

namespace anser {
namespace {

using Json = nlohmann::ordered_json;

std::string time_text(double seconds) {
  return fmt::format("{:%Y-%m-%d %H:%M}", fmt::localtime(std::time_t(seconds)));
}

// The model's name, or what else tells it from others.
std::string model_text(const StateInfo& info) {
  return info.model.empty() ? fmt::format("{:016x}", info.fingerprint) : info.model;
}

Json json_of(const StateInfo& info) {
  const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  return {{"id", info.id},
          {"parent", text(info.parent)},
          {"name", text(info.labels.name)},
          {"tags", info.labels.tags},
          {"created", info.created},
          {"last_used", info.last_used},
          {"tokens", info.tokens},
          {"model", text(info.model)},
          {"fingerprint", fmt::format("{:016x}", info.fingerprint)},
          {"raw_bytes", info.raw_bytes},
          {"stored_bytes", info.stored_bytes},
          {"note", find_json<Json>(info.labels.note).value_or(nullptr)}};
}

// Columns as wide as their widest text, and no narrower than `widths`; the last one is not filled
// up. Widths are in bytes: labels with other letters shift what follows them.
using Rows = std::vector<std::vector<std::string>>;
std::string table(const Rows& rows, std::vector<size_t>& widths) {
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += i + 1 == row.size() ? row[i] + "\n" : fmt::format("{:<{}}  ", row[i], widths[i]);
    }
  }
  return out;
}

std::string table(const Rows& rows) {
  std::vector<size_t> widths;
  return table(rows, widths);
}

// ---- ls ----

struct LsOptions {
  StoreOptions store;
  std::string tag, parent, model;
  bool json = false;
};

void ls_json(OpenStore& store, const StateFilter& filter) {
  std::string text = "[";
  for_each_state(store.states(), filter, [&](const StateInfo& info) {
    if (text != "[") text += ",";
    write_out(text + json_of(info).dump());
    text.clear();
  });
  write_out(text + "]\n");
}

void ls_command(const LsOptions& options) {
  OpenStore store(options.store, OpenStore::Use::look);
  StateFilter filter;
  filter.tag = options.tag;
  if (!options.parent.empty()) filter.parent = store.find(options.parent).id;
  if (!options.model.empty()) filter.fingerprint = Model::open(options.model).fingerprint();
  if (options.json) return ls_json(store, filter);
  std::vector<std::vector<std::string>> rows = {
      {"ID", "TOKENS", "SIZE", "CREATED", "MODEL", "NAME", "TAGS"}};
  std::vector<size_t> widths;
  uint64_t bytes = 0;
  size_t count = 0;
  std::set<std::string> contents;
  for_each_state(store.states(), filter, [&](const StateInfo& info) {
    ++count;
    if (contents.insert(info.content).second) bytes += info.stored_bytes;
    rows.push_back({info.id, fmt::format("{}", info.tokens), format_bytes(info.stored_bytes),
                    time_text(info.created), model_text(info),
                    info.labels.name.empty() ? "-" : info.labels.name,
                    fmt::format("{}", fmt::join(info.labels.tags, ", "))});
    if (rows.size() <= PageOptions::kMost) return;
    write_out(table(rows, widths));
    rows.clear();
  });
  if (count > 0) write_out(table(rows, widths));
  say("{} states, {} in {}", count, format_bytes(bytes), store.where());
}

// ---- show ----

struct ShowOptions : OneState {
  bool json = false;
};

void show_command(const ShowOptions& options) {
  OpenStore store(options.store, OpenStore::Use::look);
  const StateInfo info = store.find(options.id);
  if (options.json) {
    write_out(json_of(info).dump() + "\n");
    return;
  }
  std::string out;
  const auto line = [&](const char* name, const std::string& value) {
    out += fmt::format("{:<12} {}\n", name, value.empty() ? "-" : value);
  };
  line("id", info.id);
  line("name", info.labels.name);
  line("tags", fmt::format("{}", fmt::join(info.labels.tags, ", ")));
  line("parent", info.parent);
  std::vector<std::string> children;
  StateFilter filter;
  filter.parent = info.id;
  for_each_state(store.states(), filter,
                 [&](const StateInfo& child) { children.push_back(child.id); });
  line("children", fmt::format("{}", fmt::join(children, ", ")));
  line("tokens", format_count(int64_t(info.tokens)));
  line("model", info.model);
  line("fingerprint", fmt::format("{:016x}", info.fingerprint));
  line("size", fmt::format("{}, stored in {}", format_bytes(info.raw_bytes),
                           format_bytes(info.stored_bytes)));
  line("created", time_text(info.created));
  line("last used", time_text(info.last_used));
  line("note", info.labels.note);
  write_out(out);
}

// ---- log ----

struct LogOptions {
  StoreOptions store;
  std::string id;
};

void log_command(const LogOptions& options) {
  OpenStore store(options.store, OpenStore::Use::look);
  const std::string marked = options.id.empty() ? "" : store.find(options.id).id;
  write_out(draw_state_trees(store->list(), marked, [](const StateInfo& info) {
    std::string text = info.id;
    if (!info.labels.name.empty()) text += "  " + info.labels.name;
    if (!info.labels.tags.empty()) text += fmt::format("  ({})", fmt::join(info.labels.tags, ", "));
    return text + fmt::format("  {} tokens  {}", info.tokens, time_text(info.created));
  }));
}

// ---- diff ----

struct DiffOptions {
  StoreOptions store;
  std::string a, b;
  bool json = false;
};

void diff_command(const DiffOptions& options) {
  OpenStore store(options.store, OpenStore::Use::look);
  const std::string ids[] = {store.find(options.a).id, store.find(options.b).id};
  const State a = store->get(ids[0]), b = store->get(ids[1]);
  const std::vector<LayerChange> layers = compare_states(a, b);
  if (options.json) {
    const auto value = [](RelativeChange change) { return change ? Json(*change) : Json(); };
    Json list = Json::array();
    for (const LayerChange& layer : layers) {
      Json heads = Json::array();
      for (const RelativeChange change : layer.heads) heads.push_back(value(change));
      list.push_back({{"att_shift", value(layer.att_shift)},
                      {"ffn_shift", value(layer.ffn_shift)},
                      {"wkv", value(layer.wkv)},
                      {"heads", std::move(heads)}});
    }
    const Json object = {
        {"a", ids[0]}, {"b", ids[1]}, {"tokens", {a.tokens(), b.tokens()}}, {"layers", list}};
    write_out(object.dump() + "\n");
    return;
  }
  const auto text = [](RelativeChange change) {
    return change ? fmt::format("{:.4f}", *change) : std::string("-");
  };
  std::vector<std::vector<std::string>> rows = {{"LAYER", "ATT SHIFT", "FFN SHIFT", "HEADS"}};
  for (int h = 0; h < a.shape().heads; ++h) rows[0].push_back(fmt::format("HEAD {}", h));
  for (size_t l = 0; l < layers.size(); ++l) {
    rows.push_back({fmt::format("{}", l), text(layers[l].att_shift), text(layers[l].ffn_shift),
                    text(layers[l].wkv)});
    for (const RelativeChange change : layers[l].heads) rows.back().push_back(text(change));
  }
  write_out(table(rows));
  say("|B - A| / |A|: from {} tokens to {}", a.tokens(), b.tokens());
}

}  // namespace

void add_state_ls(CLI::App& state) {
  auto options = std::make_shared<LsOptions>();
  CLI::App* command = state.add_subcommand("ls", "list states, the oldest first");
  options->store.add_to(*command);
  command->add_option("--tag", options->tag, "only those with this tag");
  command->add_option("--parent", options->parent, "only the children of this state");
  command->add_option("-m,--model", options->model, "only those of this model");
  command->add_flag("--json", options->json, "a list of objects, as `show --json` prints them");
  command->callback([options] { ls_command(*options); });
}

void add_state_show(CLI::App& state) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command = state.add_subcommand("show", "what is known of a state");
  options->add_to(*command);
  command->add_flag("--json", options->json, "one object");
  command->callback([options] { show_command(*options); });
}

void add_state_log(CLI::App& state) {
  auto options = std::make_shared<LogOptions>();
  CLI::App* command =
      state.add_subcommand("log", "draw the trees that states form by their parents");
  options->store.add_to(*command);
  command->add_option("ID", options->id, "only the tree of this state, which a star marks");
  command->callback([options] { log_command(*options); });
}

void add_state_diff(CLI::App& state) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App* command = state.add_subcommand(
      "diff",
      "how much each layer and head changed from one state to another, relative to the first");
  options->store.add_to(*command);
  command->add_option("A", options->a, "an id, the first characters of one, or a name")->required();
  command->add_option("B", options->b, "another")->required();
  command->add_flag("--json", options->json, "one object; null where A is zero and B is not");
  command->callback([options] { diff_command(*options); });
}

}  // namespace anser
