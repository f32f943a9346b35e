#include "store/read_only_store.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "anser/error.h"
#include "store/content_file.h"
#include "store/index_view.h"
#include "store/packed_state.h"

namespace anser {

void check_store_folder(const std::string& folder) {
  struct stat status {};
  const int error = ::stat(folder.c_str(), &status) != 0 ? errno : 0;
  if (error == 0 && S_ISDIR(status.st_mode)) return;
  throw Error(fmt::format(
      "there is no store of states at {}: {}. `anser state save` and `anser serve` make one",
      folder, std::strerror(error != 0 ? error : ENOTDIR)));
}

ReadOnlyStore::ReadOnlyStore(const std::string& folder) : files_(folder) {
  check_store_folder(folder);
  read_records();
  settle_names();
}

void ReadOnlyStore::read_records() {
  const StoreFiles::Listing listing = files_.list();
  for (const std::string& id : listing.records) {
    try {
      std::optional<StateInfo> info = files_.read_record(id);
      if (!info) continue;
      if (!files_.has_content(info->content) && !listing.orphans.contains(info->content)) {
        // A server may have removed it meanwhile, and then nothing is wrong.
        if (files_.record_stamp(id)) problems_.push_back(missing_content(files_, *info));
        continue;
      }
      states_[id] = *std::move(info);
    } catch (const StoreError& problem) {
      problems_.push_back(problem.what());
    }
  }
}

// One that was set aside is there all the same (orphans.h); who writes brings it back.
std::string ReadOnlyStore::content_path(const StateInfo& info) const {
  return files_.has_content(info.content) ? files_.content(info.content)
                                          : files_.orphan(info.content);
}

// Of two states with a name, which only copied files can bring about, the one in the index has it,
// or else the newer one.
void ReadOnlyStore::settle_names() {
  const std::map<std::string, IndexedState> indexed = view_index(files_.index());
  std::vector<StateInfo*> named;
  const auto is_indexed = [&](const StateInfo& info) {
    const auto known = indexed.find(info.id);
    return known != indexed.end() && known->second.name == info.labels.name;
  };
  for (auto& [id, info] : states_) {
    if (const auto known = indexed.find(id); known != indexed.end()) {
      info.last_used = known->second.last_used;
    }
    if (!info.labels.name.empty()) named.push_back(&info);
  }
  std::ranges::sort(named, [&](const StateInfo* a, const StateInfo* b) {
    return std::pair(is_indexed(*a), a->created) > std::pair(is_indexed(*b), b->created);
  });
  std::set<std::string> taken;
  for (StateInfo* info : named) {
    if (!taken.insert(info->labels.name).second) info->labels.name.clear();
  }
}

std::optional<StateInfo> ReadOnlyStore::find(const std::string& id_or_name) {
  const auto by_id = states_.find(id_or_name);
  if (by_id != states_.end()) return by_id->second;
  if (id_or_name.empty()) return std::nullopt;
  for (const auto& [id, info] : states_) {
    if (info.labels.name == id_or_name) return info;
  }
  return std::nullopt;
}

std::vector<StateInfo> ReadOnlyStore::list(const StateFilter& filter) {
  std::vector<StateInfo> all;
  for (const auto& [id, info] : states_) {
    const bool child = filter.parent.empty() || info.parent == filter.parent;
    if (child && fits(info, filter)) all.push_back(info);
  }
  std::ranges::sort(all, [](const StateInfo& a, const StateInfo& b) {
    return std::tie(a.created, a.id) < std::tie(b.created, b.id);
  });
  return all;
}

StatePage ReadOnlyStore::page(const StateFilter& filter, const PageOptions& options) {
  std::vector<StateInfo> all = list(filter);
  if (options.newest_first) std::ranges::reverse(all);
  auto at = all.begin();
  if (const std::string& id = options.go_on.empty() ? options.after : options.go_on; !id.empty()) {
    const auto after = states_.find(id);
    if (after == states_.end()) fail_unknown_state(id, files_.folder());
    const auto place = [](const StateInfo& info) { return std::tie(info.created, info.id); };
    at = std::ranges::find_if(all, [&](const StateInfo& info) {
      return options.newest_first ? place(info) < place(after->second)
                                  : place(info) > place(after->second);
    });
  }
  PageFiller filler(filter, options.limit);
  for (; at != all.end(); ++at) {
    std::string id = at->id;
    if (!filler.add(std::move(*at), std::move(id))) break;
  }
  return filler.take();
}

std::unique_ptr<ContentReader> ReadOnlyStore::content(const StateInfo& info) {
  return open_content_file(content_path(info), info);
}

State ReadOnlyStore::get(const std::string& id) {
  const auto found = states_.find(id);
  if (found == states_.end()) fail_unknown_state(id, files_.folder());
  const StateInfo& info = found->second;
  const std::string path = content_path(info);
  return *load_packed(path, info);
}

State ReadOnlyStore::get(const std::string& id, const Model& model) {
  State state = get(id);
  model.check_state(state, fmt::format("the state {} in {}", id, files_.folder()));
  return state;
}

void ReadOnlyStore::refuse() const {
  throw Error(fmt::format("{}: the store was opened to be read only", files_.folder()));
}
std::string ReadOnlyStore::put(const State&, const std::string&, const std::string&,
                               const StateLabels&, const std::string&) {
  refuse();
}
std::string ReadOnlyStore::fork(const std::string&, const StateLabels&) {
  refuse();
}
void ReadOnlyStore::relabel(const std::string&, StateLabels) {
  refuse();
}
void ReadOnlyStore::remove(const std::string&) {
  refuse();
}

}  // namespace anser
