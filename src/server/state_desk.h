// Stored states as requests name them: found, loaded and saved, with errors as a client is told
// them.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "anser/scheduler.h"
#include "server/errands.h"
#include "server/http/reply.h"
#include "server/workers.h"
#include "store/states.h"

namespace anser {

// Where a text begins.
struct Beginning {
  State state;
  std::string id;           // of the stored state; empty: the model's initial state
  std::string origin;       // for Order: equal for all stored states that share their bytes
  std::string client = {};  // for Order: who asks
};

struct DeskStats {
  uint64_t saved = 0, failed = 0, saved_bytes = 0, loaded = 0;
  uint64_t ram_bytes = 0;  // of stored states that are kept in memory
  uint64_t waiting = 0;    // errands
};

// All functions may be called from any thread. Those that take time are for errands(); they throw
// openai::ApiError, or StoreError, which answering() makes one of.
class StateDesk {
 public:
  // Both must outlive it; and it must outlive the scheduler, whose texts are saved here. `notice`
  // gets sentences for the server's log, from any thread.
  using Notice = std::function<void(const std::string& sentence)>;
  StateDesk(States& states, const Model& model, Notice notice = {});

  States& states() { return states_; }
  const Model& model() const { return model_; }
  Errands& errands() { return errands_; }
  // For work about states that needs neither disk nor network, and shall not wait for what does.
  Errands& rendering() { return rendering_; }

  // Runs `work` as an errand; what it throws answers the request. Throws ApiError when there is too
  // much to do already.
  void later(std::shared_ptr<http::Reply> reply, std::function<void()> work);
  // The same for work that must not be refused any more.
  void run(std::shared_ptr<http::Reply> reply, std::function<void()> work);

  // The rest takes time. `param` names the field of the request that `id_or_name` stood in.
  StateInfo find(const std::string& id_or_name, const std::string& param);
  // Notes that a state leaves open which fine-tune it belongs to, if it does.
  void note_unknown(const State& state, const std::string& what);
  Beginning load(const std::string& id_or_name, const std::string& param);
  // The state file, which has been looked through once and is undamaged.
  std::unique_ptr<ContentReader> content(const StateInfo& info);
  std::string whole_content(const StateInfo& info);
  // 409 for a name that another state than `of` has; 400 for what StateLabels does not allow. `of`:
  // whose labels they shall be; none: those of a new state. `param`: the field of the name.
  void check_labels(const StateLabels& labels, const StateInfo& of = {},
                    const std::string& param = "name");
  // Returns what is known of the new state. `id`: from new_state_id(); empty: any.
  StateInfo save(const State& state, const std::string& parent, const StateLabels& labels,
                 const std::string& id = "");

  StateInfo fork(const StateInfo& info, const StateLabels& labels);

  DeskStats stats();

 private:
  // What `get` gives; errors as a client is told them.
  template <class Get>
  auto read(const StateInfo& info, Get&& get) -> decltype(get());
  void note_failure(const StoreError& error);

  States& states_;
  const Model& model_;
  const Notice notice_;
  std::atomic<bool> said_unknown_{false};
  std::mutex mutex_;  // of both below: the last failure that was noted, and when
  std::string noted_;
  std::chrono::steady_clock::time_point noted_at_;
  std::atomic<uint64_t> saved_{0}, failed_{0}, saved_bytes_{0}, loaded_{0};
  Errands errands_, rendering_;  // the last, so that they end first; what renders adds errands
};

// Who does what of a request: what waits for a disk is the desk's, all else the workers'.
struct Hands {
  StateDesk* desk;  // nullptr: no states are kept
  Workers* workers;
  size_t body_bytes;  // of the request
};

// Hands over where a text shall begin: at once for an empty `state` and nothing to save, else to a
// worker after an errand, for which a desk is needed. `param`: the field that `state` stood in;
// `client`: who asks.
void begin_at(const Hands& hands, const Model& model, const std::string& state,
              const std::string& param, const std::optional<StateLabels>& save,
              const std::string& client, std::shared_ptr<http::Reply> reply,
              std::function<void(const Beginning&)> then);

inline constexpr char kManyStates[] = "too many states are being read and written; try again later";

// What a request that needs states gets where there are none.
[[noreturn]] void fail_without_states(const std::string& param);

}  // namespace anser
