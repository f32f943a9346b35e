// What tokens do to a state, against the reference, and however the tokens come.
#include "anser/state_trace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <future>

#include "anser/error.h"
#include "anser/scheduler.h"
#include "support/compare.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

// |M| of the matrix with these entries.
double frobenius(int n, const std::function<double(int, int)>& entry) {
  double squares = 0;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) squares += entry(i, j) * entry(i, j);
  }
  return std::sqrt(squares);
}

struct Expected {
  std::vector<double> kept, erased, written;  // [tokens][layers][heads]
};

// From the reference's states before and after each token, all matrices written out; what is
// written is what its state has beyond what is left of the old one.
Expected expected_trace(const reference::Model& model, const std::vector<int>& ids) {
  Expected all;
  reference::State state(model);
  const int N = model.head_size;
  for (const int id : ids) {
    const reference::State before = state;
    reference::Trace vectors;
    reference::step(model, state, id, &vectors);
    for (int l = 0; l < model.layers; ++l) {
      const std::string number = std::to_string(l), att = "blocks." + number + ".att.";
      const reference::Vec &w = vectors.at(number + ".recur.w"),
                           &a = vectors.at(number + ".recur.a"),
                           &k = vectors.at(number + ".project.k"), &k_k = model.at(att + "k_k");
      for (int h = 0; h < model.heads(); ++h) {
        const size_t first = size_t(h) * N;
        const double* S = before.wkv[size_t(l)].data() + first * N;
        const double* after = state.wkv[size_t(l)].data() + first * N;
        std::vector<double> kk(size_t(N), 0.0), S_kk(size_t(N), 0.0);
        double length = 0;
        for (int j = 0; j < N; ++j) {
          kk[size_t(j)] = k[first + j] * k_k[first + j];
          length += kk[size_t(j)] * kk[size_t(j)];
        }
        for (double& e : kk) e /= std::sqrt(length);
        for (int i = 0; i < N; ++i) {
          for (int j = 0; j < N; ++j) S_kk[size_t(i)] += S[i * N + j] * kk[size_t(j)];
        }
        const auto old = [&](int i, int j) { return S[i * N + j]; };
        const auto faded = [&](int i, int j) { return S[i * N + j] * w[first + j]; };
        const auto taken = [&](int i, int j) {
          return S_kk[size_t(i)] * kk[size_t(j)] * a[first + j];
        };
        const auto left = [&](int i, int j) { return faded(i, j) - taken(i, j); };
        const auto put = [&](int i, int j) { return after[i * N + j] - left(i, j); };
        const double size = frobenius(N, old), written = frobenius(N, put);
        all.kept.push_back(size > 0 ? frobenius(N, faded) / size : 1);
        all.erased.push_back(size > 0 ? frobenius(N, taken) / size : 0);
        all.written.push_back(written / (written + frobenius(N, left)));
      }
    }
  }
  return all;
}

class StateTraces : public testing::Test {
 protected:
  void open(int head_size) {
    random_ = random_model(
        {.vocab = 300, .width = 3 * head_size, .layers = 3, .head_size = head_size, .ffn = 300});
    GgufOptions form;
    form.byte_vocabulary = true;  // the scheduler wants one
    write_gguf(dir_ / "m.gguf", random_, form);
    model_ = std::make_unique<Model>(Model::open(dir_ / "m.gguf"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 2, .max_rows = 16});
    ids_ = random_tokens(40, 300);
    tokens_ = as_tokens(ids_);
  }
  void expect_reference(const StateTrace& trace) {
    const Expected expected = expected_trace(random_.reference(), ids_);
    EXPECT_EQ(trace.layers, 3);
    EXPECT_EQ(trace.heads, 3);
    EXPECT_EQ(trace.tokens(), ids_.size());
    // All are at most 1, and sums of what the phases made: errors of those, relative to 1.
    const double tolerance = float_tolerance(random_.shape, 1);
    expect_close(trace.kept, expected.kept, tolerance, "kept");
    expect_close(trace.erased, expected.erased, tolerance, "erased");
    expect_close(trace.written, expected.written, tolerance, "written");
  }

  TempDir dir_;
  RandomModel random_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  std::vector<int> ids_;
  std::vector<Token> tokens_;
};

// In pieces of 16 rows, one of which is shared with another sequence.
TEST_F(StateTraces, FollowTheReference) {
  for (const int head_size : {48, 64}) {
    SCOPED_TRACE(head_size);
    open(head_size);
    State state = model_->initial_state(), stranger = state, untraced = state;
    const auto others = as_tokens(random_tokens(7, 300, 5));
    StateTrace trace;
    const Sequence batch[] = {{&stranger, others},
                              {&state, tokens_, LogitsFor::last, nullptr, &trace}};
    engine_->forward(batch);
    expect_reference(trace);
    engine_->forward(untraced, tokens_);
    EXPECT_TRUE(state == untraced) << "a trace changes nothing";
  }
}

TEST_F(StateTraces, GrowCallByCall) {
  open(64);
  State state = model_->initial_state();
  StateTrace trace;
  for (const size_t cut : {size_t(0), size_t(1), size_t(18)}) {
    const size_t end = cut == 0 ? 1 : cut == 1 ? 18 : tokens_.size();
    const Sequence part{&state, std::span(tokens_).subspan(cut, end - cut), LogitsFor::none,
                        nullptr, &trace};
    engine_->forward(std::span(&part, 1));
    EXPECT_EQ(trace.tokens(), end);
  }
  expect_reference(trace);
}

// Before the first token there is nothing to keep or erase, and all there is afterwards is written.
TEST_F(StateTraces, BeginWithNothing) {
  open(64);
  State state = model_->initial_state();
  StateTrace trace;
  const Sequence one{&state, std::span(tokens_).first(1), LogitsFor::none, nullptr, &trace};
  engine_->forward(std::span(&one, 1));
  EXPECT_EQ(trace.kept, std::vector<float>(9, 1.0f));
  EXPECT_EQ(trace.erased, std::vector<float>(9, 0.0f));
  EXPECT_EQ(trace.written, std::vector<float>(9, 1.0f));
}

class Listener final : public Reader {
 public:
  bool on_text(std::string_view, std::vector<TokenDetails>) override { return true; }
  void on_end(Finished finished) override { finished_.set_value(std::move(finished)); }
  Finished wait() { return finished_.get_future().get(); }

 private:
  std::promise<Finished> finished_;
};

// Twice, so that the second time all of it could have come from the cache.
TEST_F(StateTraces, ComeFromTheSchedulerAmongOtherTexts) {
  open(64);
  Scheduler scheduler(*engine_);
  for (int time = 0; time < 2; ++time) {
    const auto traced = std::make_shared<Listener>(), plain = std::make_shared<Listener>();
    const auto order = [&](bool trace) {
      Order order{model_->initial_state(), tokens_};
      order.generation.max_tokens = trace ? 0 : 10;
      order.trace = trace;
      return order;
    };
    ASSERT_NE(scheduler.submit(order(false), plain), 0u);
    ASSERT_NE(scheduler.submit(order(true), traced), 0u);
    const Finished finished = traced->wait();
    EXPECT_EQ(finished.error, "");
    EXPECT_EQ(finished.cached_tokens, 0u);
    expect_reference(finished.trace);
    EXPECT_EQ(plain->wait().trace.tokens(), 0u);
  }
}

}  // namespace
}  // namespace anser
