#include "store/open_states.h"

#include "store/open_redis.h"
#include "store/read_only_store.h"
#include "store/redis_url.h"
#include "store/state_store.h"

namespace anser {

OpenedStates open_states(const std::string& address, const OpenStatesOptions& options) {
  if (is_redis_url(address)) return open_redis(parse_redis_url(address), options);
  if (options.read_only) {
    auto store = std::make_unique<ReadOnlyStore>(address);
    std::vector<std::string> problems = store->problems();
    return {std::move(store), address, std::move(problems)};
  }
  if (!options.make) check_store_folder(address);
  auto folder = std::make_unique<StateStore>(
      address, StateStoreOptions{.max_disk_bytes = options.max_disk_bytes,
                                 .max_ram_bytes = options.max_ram_bytes,
                                 .notice = options.notice});
  std::vector<std::string> problems = folder->problems();
  return {std::move(folder), address, std::move(problems)};
}

}  // namespace anser
