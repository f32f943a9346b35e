#include "server/state_desk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "anser/error.h"
#include "server/answering.h"
#include "server/openai/api_error.h"

namespace anser {

using openai::ApiError;

namespace {

// One compresses while another waits for the disk.
constexpr int kThreads = 2;

// Each may hold a state: together about a gigabyte.
size_t many_errands(const Model& model) {
  const size_t bytes = model.initial_state().shape().floats() * sizeof(float);
  return std::clamp<size_t>((size_t{1} << 30) / bytes, 32, 1024);
}

}  // namespace

StateDesk::StateDesk(States& states, const Model& model, Notice notice)
    : states_(states),
      model_(model),
      notice_(std::move(notice)),
      errands_(kThreads, many_errands(model)),
      rendering_(1, many_errands(model)) {}

void StateDesk::later(std::shared_ptr<http::Reply> reply, std::function<void()> work) {
  if (errands_.busy()) {
    throw ApiError::busy(kManyStates);
  }
  run(reply, [reply, work = std::move(work)] {
    if (!reply->closed()) work();  // of a client that has gone nothing is begun
  });
}

void StateDesk::run(std::shared_ptr<http::Reply> reply, std::function<void()> work) {
  errands_.add([this, reply = std::move(reply), work = std::move(work)] {
    try {
      answering(*reply, [&] {
        try {
          work();
        } catch (const StoreError& error) {
          note_failure(error);
          throw;
        }
      });
    } catch (const std::exception& error) {
      if (notice_) notice_(fmt::format("internal error: {}", error.what()));
      reply->error(500, kInternalError);
    }
  });
}

// With the places that clients are not told. The same one again and again is said once a while: as
// long as a disk is full, every request meets it.
void StateDesk::note_failure(const StoreError& error) {
  if (!notice_ || !is_for_the_log(error)) return;
  constexpr auto kWhile = std::chrono::seconds(10);
  const auto now = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (noted_ == error.what() && now - noted_at_ < kWhile) return;
    noted_ = error.what();
    noted_at_ = now;
  }
  notice_(error.what());
}

StateInfo StateDesk::find(const std::string& id_or_name, const std::string& param) {
  std::optional<StateInfo> info = states_.find(id_or_name);
  if (!info) {
    throw ApiError(404, "invalid_request_error",
                   fmt::format("there is no state with the id or name '{}'", cut_text(id_or_name)),
                   param, "state_not_found");
  }
  return *std::move(info);
}

template <class Get>
auto StateDesk::read(const StateInfo& info, Get&& get) -> decltype(get()) {
  try {
    return touching_files(get);
  } catch (const StatesUnavailable&) {
    throw;
  } catch (const StoreError& error) {
    find(info.id, "state");  // it may have been removed meanwhile
    note_failure(error);
    throw ApiError(500, "server_error",
                   fmt::format("the state {} cannot be read: {}", info.id, error.told()), {},
                   "state_unreadable");
  }
}

std::string StateDesk::whole_content(const StateInfo& info) {
  return read(info, [&] { return states_.content(info)->next(size_t(info.raw_bytes)); });
}

Beginning StateDesk::load(const std::string& id_or_name, const std::string& param) {
  const StateInfo info = find(id_or_name, param);
  if (info.fingerprint != model_.fingerprint()) {
    throw ApiError::bad_field(
        param, fmt::format("the state {} is of another model, {}: its fingerprint is {:016x}, that "
                           "of the model here {:016x}",
                           info.id, info.model.empty() ? "of no name" : info.model,
                           info.fingerprint, model_.fingerprint()));
  }
  const auto get = [&] { return states_.get(info.id); };
  Beginning beginning{read(info, get), info.id, info.content.empty() ? info.id : info.content};
  const std::string what = fmt::format("the state {}", info.id);
  try {
    model_.check_state(beginning.state, what);
  } catch (const Error& error) {
    throw ApiError::bad_field(param, error.what());
  }
  note_unknown(beginning.state, what);
  ++loaded_;
  return beginning;
}

void StateDesk::note_unknown(const State& state, const std::string& what) {
  // Once: a store may be full of them.
  if (state.identity_known() || !notice_ || said_unknown_.exchange(true)) return;
  notice_(fmt::format("{} {}. The same goes for others of its age", what, kUnknownIdentity));
}

std::unique_ptr<ContentReader> StateDesk::content(const StateInfo& info) {
  return read(info, [&] {
    std::unique_ptr<ContentReader> content = states_.content(info);
    content->check();
    return content;
  });
}

void StateDesk::check_labels(const StateLabels& labels, const StateInfo& of,
                             const std::string& param) {
  StateLabels normal = labels;
  normalize(normal, of.labels);
  if (normal.name.empty()) return;
  const std::optional<StateInfo> holder = states_.find(normal.name);
  if (!holder || holder->id == of.id) return;
  throw ApiError(
      409, "invalid_request_error",
      fmt::format("the name '{}' is taken by the state {}; choose another, or take it away there",
                  normal.name, holder->id),
      param, "name_taken");
}

StateInfo StateDesk::save(const State& state, const std::string& parent, const StateLabels& labels,
                          const std::string& id) {
  try {
    check_labels(labels);
    const StateInfo info =
        find(states_.put(state, model_.name(), parent, labels, id), "save_state");
    ++saved_;
    saved_bytes_ += info.stored_bytes;
    return info;
  } catch (const StoreError& error) {
    ++failed_;
    note_failure(error);
    throw api_error_of(error);
  } catch (const Error& error) {
    // The state itself cannot be kept: its numbers are not finite.
    ++failed_;
    throw ApiError(500, "server_error", fmt::format("the state cannot be kept: {}", error.what()),
                   {}, "state_not_kept");
  } catch (...) {
    ++failed_;
    throw;
  }
}

StateInfo StateDesk::fork(const StateInfo& info, const StateLabels& labels) {
  check_labels(labels);
  return find(states_.fork(info.id, labels), "id");
}

DeskStats StateDesk::stats() {
  return {saved_, failed_, saved_bytes_, loaded_, states_.ram_bytes(), errands_.waiting()};
}

void begin_at(const Hands& hands, const Model& model, const std::string& state,
              const std::string& param, const std::optional<StateLabels>& save,
              const std::string& client, std::shared_ptr<http::Reply> reply,
              std::function<void(const Beginning&)> then) {
  if (state.empty() && !save) return then({model.initial_state(), {}, {}, client});
  if (hands.desk == nullptr) fail_without_states(state.empty() ? "save_state" : param);
  hands.desk->later(
      reply, [hands, &model, state, param, save, client, reply, then = std::move(then)] {
        if (save) hands.desk->check_labels(*save, {}, "save_state.name");
        Beginning beginning{model.initial_state(), {}, {}};
        if (!state.empty()) beginning = hands.desk->load(state, param);
        beginning.client = client;
        hands.workers->go_on(hands.body_bytes, reply,
                             [then, beginning = std::move(beginning)] { then(beginning); });
      });
}

void fail_without_states(const std::string& param) {
  throw ApiError(400, "invalid_request_error",
                 "this server keeps no states: start it with --state-dir DIR or "
                 "--state-store redis://HOST",
                 param, "no_states");
}

}  // namespace anser
