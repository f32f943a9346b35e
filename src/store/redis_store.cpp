#include "store/redis_store.h"

#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "formats/checks.h"
#include "store/open_redis.h"
#include "store/packed_state.h"
#include "store/redis_scripts.h"
#include "store/state_id.h"

namespace anser {
namespace {

// Of what is put and not yet added: long enough for any put, and then it goes by itself.
constexpr std::string_view kUnfinishedSeconds = "600";
// Redis's own limit of a value, proto-max-bulk-len.
constexpr uint64_t kMaxContent = uint64_t(512) << 20;
constexpr const char* kPageLength = "200";  // states that one script looks at

std::string content_key(const std::string& id) {
  return "anser:1:content:" + id;
}

std::string_view pinned_text(const StateInfo& info) {
  return info.pinned() ? "1" : "";
}

std::string_view text(const redisReply* reply) {
  if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS) return "";
  return {reply->str, reply->len};
}

std::string_view characters(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What Redis holds is not what this program writes.
template <class Failure = StoreFailed, typename... Args>
[[noreturn]] void fail_at(const std::string& where, fmt::format_string<Args...> text,
                          Args&&... args) {
  const std::string told = fmt::format(text, std::forward<Args>(args)...);
  throw Failure(fmt::format("{}: {}", where, told), told);
}

// Runs what looks at bytes out of Redis; plain Errors become StoreFailed.
template <class Work>
auto checking(Work&& work) {
  try {
    return work();
  } catch (const StoreError&) {
    throw;
  } catch (const Error& error) {
    throw StoreFailed(error.what(), "what stands in Redis is damaged; the server's log says more");
  }
}

// A list of texts; nil is the empty text.
std::vector<std::string_view> texts(const RedisReply& reply, const std::string& where) {
  if (reply->type != REDIS_REPLY_ARRAY) {
    fail_at(where, "Redis answers with type {}, expected a list", reply->type);
  }
  std::vector<std::string_view> all;
  for (size_t i = 0; i < reply->elements; ++i) all.push_back(text(reply->element[i]));
  return all;
}

}  // namespace

RedisStore::RedisStore(const RedisUrl& url, const RedisOptions& options)
    : redis_(url, options.timeout_s),
      options_(options),
      where_(url.where()),
      lifetime_(fmt::format("{}", int64_t(std::ceil(options.lifetime_days * 24 * 60 * 60)))),
      ram_(options.max_ram_bytes) {
  const std::string_view ping[] = {"PING"};
  redis_.command(ping);
}

std::vector<std::string> RedisStore::problems() {
  const std::string_view words[] = {"INFO", "memory"};
  const RedisReply reply = redis_.command(words);
  // Any key can go then: names, the list of all states.
  if (text(reply.get()).find("maxmemory_policy:allkeys") == std::string_view::npos) return {};
  return {where_ +
          ": this Redis may evict any key (maxmemory-policy allkeys-...), so states can lose their "
          "names and places in lists; set volatile-lru or noeviction"};
}

RedisReply RedisStore::run(const char* script, std::vector<std::string_view> arguments) {
  const std::string whole = std::string(redis_scripts::kCommon) + script;
  std::vector<std::string_view> words = {"EVAL", whole, "0", lifetime_};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return redis_.command(words);
}

StateInfo RedisStore::parse(std::string_view record, std::string_view used) const {
  StateInfo info = checking([&] {
    return parse_record(std::as_bytes(std::span(record)), fmt::format("{}: a record", where_));
  });
  double when = 0;
  std::from_chars(used.data(), used.data() + used.size(), when);
  if (std::isfinite(when)) info.last_used = std::max(info.last_used, when);
  return info;
}

std::optional<RedisStore::Found> RedisStore::look_up(const std::string& id_or_name, bool use) {
  // No name has the form of an id.
  const bool is_id = is_state_id(id_or_name);
  const double now = seconds_since_1970();
  const std::string used = use ? fmt::format("{}", now) : "";
  const RedisReply reply =
      run(redis_scripts::kFind, {is_id ? id_or_name : "", is_id ? "" : id_or_name, used});
  const std::vector<std::string_view> found = texts(reply, where_);
  if (found.empty()) return std::nullopt;
  if (found.size() != 2) fail_at(where_, "Redis answers {} texts, expected 2", found.size());
  Found state = {parse(found[0], found[1]), std::string(found[0])};
  if (is_id ? state.info.id != id_or_name : state.info.labels.name != id_or_name) {
    fail_at(where_, "under {} stands the record of another state, {}", printable(id_or_name),
            state.info.id);
  }
  return state;
}

RedisStore::Found RedisStore::require(const std::string& id, bool use) {
  std::optional<Found> found;
  if (is_state_id(id)) found = look_up(id, use);
  if (!found) fail_unknown_state(id, where_);
  return *std::move(found);
}

// `source`: empty, or the state whose content it shares.
void RedisStore::add(const StateInfo& info, const std::string& source) {
  const std::string record = to_record(info);
  const RedisReply reply = run(
      redis_scripts::kAdd,
      {info.id, info.content, info.labels.name, info.parent, pinned_text(info), record, source});
  const std::vector<std::string_view> answer = texts(reply, where_);
  check(answer, info, source);
}

// The content, which expires unless it is added. What is compressed is not needed any more.
void RedisStore::upload(PackedState& packed) {
  if (packed.compressed.size() > kMaxContent) {
    fail_at<StoreFull>(where_, "the compressed state has {} bytes, Redis takes at most {}",
                       packed.compressed.size(), kMaxContent);
  }
  const std::string key = content_key(packed.info.content);
  const std::string_view words[] = {"SET", key,  characters(packed.compressed),
                                    "NX",  "EX", kUnfinishedSeconds};
  if (redis_.command(words)->type == REDIS_REPLY_NIL) fail_id_taken(packed.info.id);
  packed.compressed = {};
}

std::string RedisStore::put(const State& state, const std::string& model, const std::string& parent,
                            const StateLabels& labels, const std::string& id) {
  PackedState packed = pack_state(state, model, parent, labels, id);
  const StateInfo& info = packed.info;
  upload(packed);
  try {
    add(info, "");
  } catch (const Error&) {
    try {
      const std::string key = content_key(info.content);
      const std::string_view words[] = {"DEL", key};
      redis_.command(words);
    } catch (const Error&) {
      // Then it expires.
    }
    throw;
  }
  if (options_.max_ram_bytes > 0) {
    // Not a copy: that of a state in a device's memory would be there, too.
    auto hot = std::make_shared<const State>(State::deserialize(packed.file, info.id));
    const std::lock_guard guard(mutex_);
    ram_.keep(info.content, std::move(hot));
  }
  return info.id;
}

std::string RedisStore::fork(const std::string& id, const StateLabels& labels) {
  const StateInfo info = info_of_fork(require(id, false).info, labels);
  add(info, id);
  return info.id;
}

std::shared_ptr<const State> RedisStore::load(const StateInfo& info) {
  const std::string key = content_key(info.content);
  const std::string_view words[] = {"GET", key};
  const RedisReply reply = redis_.command(words);
  if (reply->type != REDIS_REPLY_STRING) {
    require(info.id, false);  // it may have been removed or evicted meanwhile
    fail_at(where_, "the content of the state {} is not there", info.id);
  }
  const std::span<const char> bytes(reply->str, reply->len);
  return checking(
      [&] { return unpack_state(std::as_bytes(bytes), info, fmt::format("{}, {}", where_, key)); });
}

State RedisStore::get(const std::string& id) {
  const StateInfo info = require(id, true).info;
  std::shared_ptr<const State> state;
  {
    const std::lock_guard guard(mutex_);
    state = ram_.find(info.content);
  }
  if (state == nullptr) {
    state = load(info);
    const std::lock_guard guard(mutex_);
    ram_.keep(info.content, state);
  }
  return *state;
}

State RedisStore::get(const std::string& id, const Model& model) {
  State state = get(id);
  model.check_state(state, fmt::format("the state {} in {}", id, where_));
  return state;
}

std::optional<StateInfo> RedisStore::find(const std::string& id_or_name) {
  std::optional<Found> found = look_up(id_or_name, false);
  if (!found) return std::nullopt;
  return std::move(found->info);
}

std::vector<StateInfo> RedisStore::list(const StateFilter& filter) {
  std::vector<StateInfo> states;
  // No parent has another form.
  if (!filter.parent.empty() && !is_state_id(filter.parent)) return states;
  for (std::string last = "0";;) {
    const RedisReply reply = run(redis_scripts::kList, {filter.parent, last, kPageLength});
    const std::vector<std::string_view> page = texts(reply, where_);
    if (page.empty() || page[0].empty()) return states;
    last = page[0];
    for (size_t i = 1; i + 2 < page.size(); i += 3) {
      try {
        StateInfo info = parse(page[i + 1], page[i + 2]);
        if (info.id == page[i] && fits(info, filter)) states.push_back(std::move(info));
      } catch (const Error&) {
        // Damaged: whoever asks for it by its id is told.
      }
    }
  }
}

void RedisStore::relabel(const std::string& id, StateLabels labels) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    Found found = require(id, false);
    normalize(labels, found.info.labels);
    found.info.labels = labels;
    const std::string record = to_record(found.info);
    const RedisReply reply = run(redis_scripts::kRelabel,
                                 {id, found.record, record, labels.name, pinned_text(found.info)});
    const std::vector<std::string_view> answer = texts(reply, where_);
    // Somebody else was faster: on top of what they have made of it.
    if (!answer.empty() && answer[0] == "changed") continue;
    check(answer, found.info, id);
    return;
  }
  fail_at<StatesUnavailable>(where_,
                             "the labels of the state {} are changed all the time by others", id);
}

void RedisStore::remove(const std::string& id) {
  if (!is_state_id(id)) fail_unknown_state(id, where_);
  const RedisReply reply = run(redis_scripts::kRemove, {id});
  const std::vector<std::string_view> answer = texts(reply, where_);
  if (answer.size() != 2) fail_unknown_state(id, where_);
  const std::lock_guard guard(mutex_);
  ram_.drop(std::string(answer[1]));
}

// What a script that changes something has answered. `source`: the state that must be there.
void RedisStore::check(const std::vector<std::string_view>& answer, const StateInfo& info,
                       const std::string& source) const {
  const std::string_view word = answer.empty() ? "" : answer[0];
  if (word == "ok") return;
  if (word == "unknown") fail_unknown_state(source, where_);
  if (word == "taken" && answer.size() == 2) {
    fail_name_taken(info.labels.name, printable(answer[1]));
  }
  if (word == "lost") {
    fail_at<StoreFull>(
        where_, "Redis has dropped the bytes of the state as soon as it had them: it is full");
  }
  fail_at(where_, "Redis answers {}, which means nothing here", printable(word));
}

OpenedStates open_redis(const RedisUrl& url, const OpenStatesOptions& options) {
  RedisOptions redis;
  redis.lifetime_days = options.lifetime_days;
  redis.max_ram_bytes = options.max_ram_bytes;
  auto store = std::make_unique<RedisStore>(url, redis);
  std::vector<std::string> problems = store->problems();
  return {std::move(store), url.where(), std::move(problems)};
}

}  // namespace anser
