// A folder of states (state_store.h) for who only looks: nothing is made or written there, nor need
// anything be writable. What there is comes from the records; the index, where it can be read, adds
// when states were last used, and who has a name that two records claim.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/states.h"
#include "store/store_files.h"

namespace anser {

// Throws Error where there is no folder.
void check_store_folder(const std::string& folder);

class ReadOnlyStore : public States {
 public:
  // Throws Error where there is no such folder. It is read once, now.
  explicit ReadOnlyStore(const std::string& folder);

  // What was found wrong with files, a sentence each: they are left out.
  const std::vector<std::string>& problems() const { return problems_; }

  State get(const std::string& id, const Model& model) override;
  State get(const std::string& id) override;
  std::unique_ptr<ContentReader> content(const StateInfo& info) override;
  std::optional<StateInfo> find(const std::string& id_or_name) override;
  std::vector<StateInfo> list(const StateFilter& filter = {}) override;
  StatePage page(const StateFilter& filter, const PageOptions& options) override;
  uint64_t ram_bytes() override { return 0; }

  // These throw Error.
  std::string put(const State&, const std::string&, const std::string&, const StateLabels&,
                  const std::string&) override;
  std::string fork(const std::string&, const StateLabels&) override;
  void relabel(const std::string&, StateLabels) override;
  void remove(const std::string&) override;

 private:
  void read_records();
  void settle_names();
  std::string content_path(const StateInfo& info) const;
  [[noreturn]] void refuse() const;

  const StoreFiles files_;
  std::vector<std::string> problems_;
  std::map<std::string, StateInfo> states_;  // by id
};

}  // namespace anser
