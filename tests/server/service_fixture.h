// A server over a random model, and its client.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/server.h"
#include "server/http_client.h"
#include "server/service.h"
#include "store/state_store.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {

// 300 rows, with a vocabulary: id b + 1 is the byte b, id 0 the end of a text.
class ServiceTest : public testing::Test {
 protected:
  using Answer = http::Answer;
  using Client = http::Client;
  using Json = openai::Json;

  void start(ServiceOptions options = {}, SchedulerOptions scheduling = {}) {
    using namespace support;
    if (model_ == nullptr) {
      GgufOptions form;
      form.byte_vocabulary = true;
      write_gguf(dir_ / "m.gguf", random_model({.vocab = 300, .width = 64, .layers = 2, .ffn = 64}),
                 form);
      model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    }
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 2});
    if (store_ != nullptr) {
      States& states = states_ == nullptr ? *store_ : *states_;
      desk_ = std::make_unique<StateDesk>(states, *model_, [this](const std::string& sentence) {
        const std::lock_guard guard(notices_mutex_);
        notices_.push_back(sentence);
      });
    }
    options.notice = [this](const std::string& sentence) {
      const std::lock_guard guard(notices_mutex_);
      notices_.push_back(sentence);
    };
    scheduler_ = std::make_unique<Scheduler>(*engine_, scheduling);
    if (options.model_name.empty()) options.model_name = "goose";
    options.limits.vocab = 300;
    options.desk = desk_.get();
    http::Options listening = http::any_port();
    options.http_load = listening.load;
    service_ = std::make_unique<Service>(*engine_, *scheduler_, std::move(options));
    listening.error_body = &Service::error_body;
    const http::Router router = service_->routes();
    listening.body_refusal = std::bind_front(&http::Router::refusal, router);
    server_ = std::make_unique<http::Server>(listening, router);
    server_->start();
  }

  // With states, in a folder that is the same for all servers of a test.
  void start_with_states(const StateStoreOptions& keeping = {}, SchedulerOptions scheduling = {}) {
    stop();
    store_ = std::make_unique<StateStore>(dir_ / "states", keeping);
    ServiceOptions options;
    options.limits.sampling.temperature = 0;  // states do not keep what a sampler remembers
    options.limits.max_tokens = 1'000'000'000;
    start(std::move(options), scheduling);
  }
  void stop() {
    server_.reset();
    service_.reset();
    scheduler_.reset();
    desk_.reset();
    store_.reset();
  }

  Answer ask(const std::string& request) {
    Client client(server_->port());
    client.send(request);
    return client.read_answer(request.starts_with("HEAD "));
  }
  Json post(const std::string& path, const std::string& body, int status = 200) {
    return json(ask(http::post(path, body)), status);
  }
  Json get(const std::string& path, int status = 200) { return json(ask(http::get(path)), status); }
  // Without a body, or with one.
  Json send(const std::string& method, const std::string& path, const std::string& body = "",
            int status = 200) {
    const std::string request = body.empty() ? http::get(path) : http::post(path, body);
    return json(ask(method + request.substr(request.find(' '))), status);
  }
  // The objects of a stream; the last line must be [DONE].
  std::vector<Json> stream(const std::string& path, const std::string& body) {
    std::string last;
    std::vector<Json> events;
    for (const std::string& data : event_data(path, body)) {
      last = data;
      if (data != "[DONE]") events.push_back(Json::parse(data, nullptr, false));
    }
    EXPECT_EQ(last, "[DONE]");
    return events;
  }
  // What stands behind "data: ".
  std::vector<std::string> event_data(const std::string& path, const std::string& body) {
    const Answer answer = ask(http::post(path, body));
    EXPECT_EQ(answer.headers["Content-Type"], "text/event-stream");
    std::vector<std::string> all;
    std::string_view rest = answer.body;
    while (!rest.empty()) {
      const size_t end = rest.find("\n\n");
      const size_t data = rest.find("data: ");
      if (end == std::string_view::npos || data > end) {
        ADD_FAILURE() << "no event: " << rest;
        break;
      }
      all.emplace_back(rest.substr(data + 6, end - data - 6));
      rest.remove_prefix(end + 2);
    }
    return all;
  }
  static Json json(const Answer& answer, int status) {
    EXPECT_EQ(answer.status, status) << answer.body;
    return Json::parse(answer.body, nullptr, false);
  }

  std::vector<std::string> notices() {
    const std::lock_guard guard(notices_mutex_);
    return notices_;
  }

  support::TempDir dir_;
  std::mutex notices_mutex_;
  std::vector<std::string> notices_;  // for the server's log
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<StateStore> store_;
  States* states_ = nullptr;  // what stands in front of store_, if anything does
  std::unique_ptr<StateDesk> desk_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace anser
