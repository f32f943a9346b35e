// States in a Redis server, for several replicas of a server: any of them goes on with any state.
//
// states.h says what a store does, docs/formats.md what stands under which key, docs/scale-out.md
// how to run it.
//
// What is promised:
// - A state whose id put() or fork() has returned is there until it is removed, or until Redis
//   drops it: by its own eviction (maxmemory), by its lifetime, or in a crash or failover, as its
//   persistence is set up. Then its state is unknown, as if it had been removed.
// - Every change is one script inside Redis: it happens whole or not at all, and no replica comes
//   between. Bytes whose writer died before that expire by themselves after ten minutes.
// - A call that finds Redis gone throws, after the timeout at the latest, and the next call tries
//   anew. Whether a change whose answer was lost has happened is not known.
// - What stands in Redis is not trusted: records and contents are checked as files are.
//
// All functions may be called from several threads at once; each call has a connection of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/ram_tier.h"
#include "store/redis_connection.h"
#include "store/states.h"

namespace anser {

struct PackedState;

struct RedisOptions {
  // How long Redis may keep silent while a call waits for it.
  double timeout_s = 5;
  // Days after its last use when a state without name or tag expires. Only what may expire can be
  // evicted by Redis's volatile policies. 0: never.
  double lifetime_days = 30;
  // Of states that this process keeps in memory as well, so that get() need not fetch them. 0:
  // none.
  uint64_t max_ram_bytes = 0;
};

class RedisStore : public States {
 public:
  // Connects, so that a wrong address or password is found at once.
  RedisStore(const RedisUrl& url, const RedisOptions& options);

  // What is not right about the server's settings, a sentence each.
  std::vector<std::string> problems();

  std::string put(const State& state, const std::string& model, const std::string& parent = "",
                  const StateLabels& labels = {}, const std::string& id = "") override;
  std::string fork(const std::string& id, const StateLabels& labels = {}) override;
  State get(const std::string& id, const Model& model) override;
  State get(const std::string& id) override;
  std::unique_ptr<ContentReader> content(const StateInfo& info) override;
  std::optional<StateInfo> find(const std::string& id_or_name) override;
  // What was found damaged is left out.
  std::vector<StateInfo> list(const StateFilter& filter = {}) override;
  StatePage page(const StateFilter& filter, const PageOptions& options) override;
  void relabel(const std::string& id, StateLabels labels) override;
  void remove(const std::string& id) override;
  uint64_t ram_bytes() override;

 private:
  // A state, and its record as it stands there.
  struct Found {
    StateInfo info;
    std::string record;
  };

  // A state in a list, and the number that it was given when it came.
  struct Listed {
    StateInfo info;
    std::string number;
  };

  RedisReply run(const char* script, std::vector<std::string_view> arguments);
  void upload(PackedState& packed);
  void add(const StateInfo& info, const std::string& source);
  std::optional<Found> look_up(const std::string& id_or_name, bool use);
  Found require(const std::string& id, bool use);
  StateInfo parse(std::string_view record, std::string_view used) const;
  void check(const std::vector<std::string_view>& answer, const StateInfo& info,
             const std::string& source) const;
  std::shared_ptr<const State> load(const StateInfo& info);
  std::optional<std::vector<Listed>> some(const std::string& parent, std::string& last,
                                          bool newest_first);
  std::string number_of(const std::string& id);

  RedisPool redis_;
  const RedisOptions options_;
  const std::string where_, lifetime_;

  std::mutex mutex_;
  RamTier ram_;  // with mutex_ held; by content
};

}  // namespace anser
