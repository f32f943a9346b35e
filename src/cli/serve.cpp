// anser serve: an HTTP server with OpenAI's addresses, on one engine.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "anser/error.h"
#include "anser/scheduler.h"
#include "base/start_threads.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/core_dumps.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/state_commands.h"
#include "cli/template_options.h"
#include "cli/web_options.h"
#include "server/http/server.h"
#include "server/model_name.h"
#include "server/service.h"
#include "text/chat/choose_template.h"

namespace anser {
namespace {

struct ServeOptions {
  ModelOptions model;
  SamplingFlags sampling;
  http::Options http;
  SchedulerOptions scheduler;
  WebFlags web;
  std::vector<std::string> api_keys;
  std::string api_key_file;
  bool shared_cache = false;
  std::string model_name;
  TemplateFlags format;
  openai::Limits limits;
  int cache_mb = 256;
  StoreOptions store;
  bool no_states = false;
  int unsent_mb = 256, received_mb = 256, logprobs_mb = 512, queue_mb = 1024;
  int state_ram_mb = 256, state_disk_mb = 0;
  double state_days = OpenStatesOptions().lifetime_days;
  double patience_s = 30;
  int stream_interval_ms = 20;
  CoreDumps core_dumps;
};

// Ctrl-C, SIGTERM and SIGHUP, waited for by the main thread. To be made before any other thread is,
// for they inherit what is blocked.
class EndSignals {
 public:
  EndSignals() : set_(end_signals()) { pthread_sigmask(SIG_BLOCK, &set_, &before_); }
  ~EndSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  void wait() const {
    int signal = 0;
    sigwait(&set_, &signal);
  }

  // While one exists they end the program at once: there is nothing to bring to an end yet.
  class AtOnce {
   public:
    explicit AtOnce(const EndSignals& signals)
        : thread_(start_thread([set = signals.set_](std::stop_token stop) {
            while (!stop.stop_requested()) {
              const timespec tenth{0, 100'000'000};
              const int signal = sigtimedwait(&set, nullptr, &tenth);
              if (signal <= 0) continue;
              ::signal(signal, SIG_DFL);
              pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
              raise(signal);
            }
          })) {}

   private:
    const std::jthread thread_;
  };

 private:
  sigset_t set_, before_;
};

// What clients call the model: the file's own name, unless that cannot stand in an address.
std::string name_of(const ServeOptions& options, const Model& model) {
  if (!options.model_name.empty()) return options.model_name;
  if (options.model.model.empty()) return "anser";
  const std::filesystem::path path(options.model.model);
  const std::string stem = (path.has_filename() ? path : path.parent_path()).stem().string();
  return can_be_model_name(stem) ? stem : model.name();
}

bool on_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

ApiKeys keys_of(const ServeOptions& options) {
  ApiKeys keys;
  try {
    for (const std::string& key : options.api_keys) keys.add(key);
  } catch (const Error& error) {
    throw CLI::ValidationError("--api-key (or ANSER_API_KEY)", error.what());
  }
  if (!options.api_key_file.empty()) {
    if (const auto notice = keys.add_file(options.api_key_file)) say("anser: {}", *notice);
  }
  return keys;
}

void say_who_may_enter(const ServeOptions& options, const ApiKeys& keys) {
  if (!keys.empty()) {
    say("anser: whoever has one of {}'s keys may use it", fmt::join(keys.names(), ", "));
  } else if (!on_loopback(options.http.host)) {
    say("anser: WARNING: there is no API key, and others can reach {}: whoever does may use this "
        "server, and read, change and delete all its states. Give --api-key-file FILE, or --host "
        "127.0.0.1",
        options.http.host);
  }
}

// No states: none are kept.
OpenedStates open_store(const ServeOptions& options) {
  if (options.no_states) return {};
  const bool given = options.store.given();
  // Whoever reaches the server sees what is in the folder: one's own is not opened to a network by
  // accident.
  if (!given && !on_loopback(options.http.host)) {
    say("anser: no states are kept: others can reach {}; --state-dir DIR says where to keep theirs",
        options.http.host);
    return {};
  }
  OpenedStates store;
  try {
    store = open_states(options.store.address(),
                        {.max_ram_bytes = uint64_t(options.state_ram_mb) << 20,
                         .max_disk_bytes = uint64_t(options.state_disk_mb) << 20,
                         .lifetime_days = options.state_days,
                         .notice = [](const std::string& text) { say("anser: {}", text); }});
  } catch (const Error& error) {
    if (given) throw;
    say("anser: no states are kept: {}", error.what());
    return {};
  }
  say("anser: states that are asked for are kept in {}; --no-states keeps none", store.where);
  for (const std::string& problem : store.problems) say("anser: {}", problem);
  return store;
}

// A state file must fit into a body, that it can be uploaded; or a tuned initial state, in fp32.
void make_room_for_states(http::Options& http, const Model& model) {
  constexpr uint64_t kHeader =
      1 << 20;  // also of what tells the model from others, and of archives
  const uint64_t file =
      (model.initial_state().shape().floats() + size_t(model.hyperparameters().vocab)) *
          sizeof(float) +
      kHeader;
  http.body_bytes = std::max(http.body_bytes, file);
  http.all_body_bytes = std::max(http.all_body_bytes, 4 * file);
}

// Texts have `patience_s` to come to their end. Those whose state is wanted then end where they
// are, and are saved; the others' clients are told that the server is ending.
void end_in_time(http::Server& server, Scheduler& scheduler, double patience_s) {
  constexpr double kSaving = 10;  // seconds, at the most, that this may take
  std::mutex mutex;
  std::condition_variable_any ended;
  std::jthread conclusion;
  try {
    conclusion = start_thread([&](std::stop_token stop) {
      std::unique_lock lock(mutex);
      ended.wait_for(lock, stop, std::chrono::duration<double>(patience_s), [] { return false; });
      if (!stop.stop_requested()) scheduler.conclude();
    });
  } catch (const std::exception& error) {
    scheduler.conclude();
    say("anser: {}; texts end now", error.what());
  }
  server.stop(std::chrono::milliseconds(int64_t((patience_s + kSaving) * 1000)));
}

// Options about states that would have no effect.
void check_state_options(const ServeOptions& options, const CLI::App& command) {
  const auto given = [&](const char* name) { return !command.get_option(name)->empty(); };
  if (options.store.given()) {
    options.store.address();  // what is wrong with it shows before minutes are spent on loading
  } else if (!options.no_states) {
    from_environment("ANSER_STATE_DIR");
  }
  for (const char* name :
       {"--state-dir", "--state-store", "--state-ram-mb", "--state-days", "--state-disk-mb"}) {
    if (options.no_states && given(name)) {
      throw CLI::ValidationError(name, "--no-states says that no states are kept");
    }
  }
  if (given("--state-disk-mb") && options.store.in_redis()) {
    throw CLI::ValidationError("--state-disk-mb",
                               "it is for a folder; Redis has a limit of its own, maxmemory");
  }
  if (given("--state-days") && !options.store.in_redis()) {
    throw CLI::ValidationError("--state-days", "it is for Redis; a folder keeps states for ever");
  }
}

void check_key_options(const ServeOptions& options) {
  if (options.shared_cache && options.api_keys.empty() && options.api_key_file.empty()) {
    throw CLI::ValidationError("--shared-cache", "without API keys the cache is shared anyhow");
  }
}

void serve_command(ServeOptions options) {
  options.core_dumps.forbid();
  options.sampling.check();
  std::optional<ChatTemplate> given = options.format.given();
  ApiKeys keys = keys_of(options);
  say_who_may_enter(options, keys);
  const WebPolicy policy(options.web.policy(options.http.host, !keys.empty()));
  const EndSignals signals;
  http::check_address(options.http);  // before minutes are spent on loading
  std::optional<EndSignals::AtOnce> loading(signals);
  const LoadedModel loaded = load_model(options.model);
  loading.reset();
  const Model& model = loaded.model;
  model.tokenizer();  // throws where there is none
  if (model.tells_stories() && given) {
    throw CLI::ValidationError("--template: this is a story model, which has no conversations");
  }
  options.scheduler.cache_bytes = size_t(options.cache_mb) << 20;
  // Whoever has a key shall not find out what others have asked.
  options.scheduler.shared_cache = keys.empty() || options.shared_cache;
  options.scheduler.queue_bytes = uint64_t(options.queue_mb) << 20;
  options.http.all_answer_bytes = uint64_t(options.unsent_mb) << 20;
  options.http.all_body_bytes = uint64_t(options.received_mb) << 20;
  const OpenedStates store = open_store(options);
  std::unique_ptr<StateDesk> desk;  // outlives the scheduler, whose texts it keeps
  if (store.states != nullptr) {
    desk = std::make_unique<StateDesk>(
        *store.states, model, [](const std::string& sentence) { say("anser: {}", sentence); });
    make_room_for_states(options.http, model);
  }
  Scheduler scheduler(*loaded.engine, options.scheduler);

  ServiceOptions service_options;
  service_options.api_keys = std::move(keys);
  service_options.model_name = name_of(options, model);
  if (given) {
    service_options.form = *std::move(given);
  } else if (!model.tells_stories()) {
    service_options.form = form_of_model(model);
  }
  service_options.limits = options.limits;
  service_options.limits.max_choices = options.scheduler.max_queue;
  service_options.limits.vocab = model.hyperparameters().vocab;
  service_options.limits.sampling = options.sampling.resolve(model, SamplingOptions());
  service_options.limits.seed = options.sampling.seed;
  service_options.limits.fills_gaps =
      !model.tells_stories() && fills_gaps(model.chat_clues(), service_options.form);
  service_options.desk = desk.get();
  service_options.stream_interval = std::chrono::milliseconds(options.stream_interval_ms);
  service_options.budgets = std::make_shared<MemoryBudgets>(uint64_t(options.logprobs_mb) << 20);
  service_options.http_load = options.http.load;
  options.http.on_fault = [](const std::string& what) { say("anser: internal error: {}", what); };
  service_options.on_fault = options.http.on_fault;
  service_options.notice = [](const std::string& sentence) { say("anser: {}", sentence); };
  Service service(*loaded.engine, scheduler, std::move(service_options));

  options.http.error_body = &Service::error_body;
  options.http.refusal = std::bind_front(&WebPolicy::refusal, policy);
  const http::Router router = service.routes();
  options.http.body_refusal = std::bind_front(&http::Router::refusal, router);
  options.http.answer_fields = std::bind_front(&WebPolicy::answer_fields, policy);
  http::Server server(options.http, policy.answering_preflights(router));
  server.start();
  const bool v6 = options.http.host.find(':') != std::string::npos;
  say("anser: serving {} at http://{}{}{}:{}/, API at /v1; Ctrl-C ends it", model.name(),
      v6 ? "[" : "", options.http.host, v6 ? "]" : "", server.port());

  signals.wait();
  say("anser: ending; texts that are being written have {} s", options.patience_s);
  end_in_time(server, scheduler, options.patience_s);
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand("serve", "answer OpenAI's API over HTTP");
  options->model.add_to(*command);
  command->add_option("--host", options->http.host, "address to listen on; 0.0.0.0 is all of them")
      ->capture_default_str();
  command->add_option("--port", options->http.port, "0: a free one")->capture_default_str();
  command
      ->add_option("--api-key", options->api_keys,
                   "require this bearer token; repeatable. Without it there is no authentication")
      ->envname("ANSER_API_KEY")
      ->allow_extra_args(false);
  command->add_option("--api-key-file", options->api_key_file,
                      "file of bearer tokens, one a line: KEY, or NAME KEY. Names appear in "
                      "messages and metrics, keys never");
  command->add_flag("--shared-cache", options->shared_cache,
                    "use the prefix cache across keys. Whoever has a key can then find out by "
                    "guessing what others have sent");
  options->web.add_to(*command);
  command
      ->add_option("--name", options->model_name,
                   "what clients call the model, in /v1/models/NAME, too: goose, or RWKV/goose")
      ->check(CLI::Validator(
          [](std::string& name) {
            try {
              check_model_name(name);
            } catch (const Error& error) {
              return std::string(error.what());
            }
            return std::string();
          },
          ""));
  options->format.add_to(*command, {},
                         "Those with think in their names differ in how an answer begins where a "
                         "request says nothing of reasoning. Without it: auto");
  command
      ->add_option("--max-batch", options->scheduler.max_batch,
                   "requests that are processed at once; clients (keys, or addresses without keys) "
                   "share them equally")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command
      ->add_option("--max-queue", options->scheduler.max_queue,
                   "requests that may wait; beyond that they are refused until there is room")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  options->scheduler.max_wait_seconds = 120;
  command
      ->add_option("--max-wait", options->scheduler.max_wait_seconds,
                   "seconds that a request may wait in the queue; 0: no limit")
      ->check(not_negative())
      ->capture_default_str();
  options->scheduler.max_seconds = 1800;
  command
      ->add_option("--max-seconds", options->scheduler.max_seconds,
                   "seconds that a request may take; then its text ends as it is. 0: no limit")
      ->check(not_negative())
      ->capture_default_str();
  command
      ->add_option("--piece", options->scheduler.piece_seconds,
                   "longest time, in seconds, that one step may spend on prompts while other "
                   "requests wait for their next token")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  command
      ->add_option("--stream-interval", options->stream_interval_ms,
                   "shortest time, in milliseconds, between two events of a stream, each of which "
                   "brings all text since the last; 0: an event a token")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command
      ->add_option("--cache-mb", options->cache_mb,
                   "size of the prefix cache, which keeps states after the beginnings of prompts")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command
      ->add_option(
          "--queue-mb", options->queue_mb,
          "memory for the prompts of requests that wait, 8 bytes a token; beyond that they "
          "are refused until there is room")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--received-mb", options->received_mb,
                   "memory for the bodies of all requests that come in and are worked on")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--unsent-mb", options->unsent_mb,
                   "memory for all answers that wait for their clients; when it is used up, those "
                   "that do not read in time are cut off")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--logprobs-mb", options->logprobs_mb,
                   "memory for the logprobs of all answers that are not streamed")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  options->store.add_to(*command,
                        "folder of the states that clients save; without it that of `anser state`, "
                        "if only this machine can reach the server");
  command->add_flag("--no-states", options->no_states, "keep no states");
  command
      ->add_option("--state-ram-mb", options->state_ram_mb,
                   "memory for stored states, so that they need not be fetched again")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--state-days", options->state_days,
                   "after how many days without use Redis drops states without a name or a tag; 0: "
                   "never")
      ->check(CLI::Range(0.0, 36500.0))
      ->capture_default_str();
  command
      ->add_option(
          "--state-disk-mb", options->state_disk_mb,
          "for stored states in a folder; those without a name or a tag that were not used for the "
          "longest time go first. 0: no limit")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--max-tokens", options->limits.max_tokens, "most tokens of one answer")
      ->check(positive())
      ->capture_default_str();
  command
      ->add_option("--max-prompt-tokens", options->limits.max_prompt_tokens,
                   "most tokens of one prompt")
      ->check(positive())
      ->capture_default_str();
  command->add_option("--max-n", options->limits.max_n, "most answers to one request")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--max-connections", options->http.connections, "most connections at once")
      ->check(positive())
      ->capture_default_str();
  command
      ->add_option("--patience", options->patience_s,
                   "seconds that running requests have to finish when the server is stopped")
      ->check(not_negative())
      ->capture_default_str();
  options->core_dumps.add_to(*command);
  options->sampling.add_to(*command, "T 1, top-p 0.85");
  command->callback([options, command] {
    // An empty one would let everybody in.
    if (options->api_keys.empty()) from_environment("ANSER_API_KEY");
    check_key_options(*options);
    check_state_options(*options, *command);
    serve_command(*options);
  });
}

}  // namespace anser
