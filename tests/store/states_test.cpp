// What every store does, wherever it keeps states, while nothing goes wrong.
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>
#include <utility>

#include "store/backend.h"
#include "store/sample_states.h"
#include "store/state_id.h"
#include "support/errors.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

StateFilter with_tag(const std::string& tag) {
  StateFilter filter;
  filter.tag = tag;
  return filter;
}
StateFilter with_parent(const std::string& parent) {
  StateFilter filter;
  filter.parent = parent;
  return filter;
}
StateFilter with_fingerprint(uint64_t fingerprint) {
  StateFilter filter;
  filter.fingerprint = fingerprint;
  return filter;
}

class EveryStore : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("Folder")) {
      backend_ = folder_backend();
    } else if (const std::string why = why_no_redis(); !why.empty()) {
      GTEST_SKIP() << why;
    } else {
      backend_ = redis_backend();
    }
  }
  std::unique_ptr<States> open(uint64_t max_ram_bytes = 0) { return backend_->open(max_ram_bytes); }

  std::unique_ptr<Backend> backend_;
};

TEST_P(EveryStore, GivesBackWhatItWasGiven) {
  const auto store = open();
  const State state = state_after(7);
  const std::string id = store->put(state, "a model");
  EXPECT_TRUE(is_state_id(id)) << id;
  EXPECT_TRUE(store->get(id) == state);

  const StateInfo info = store->find(id).value();
  EXPECT_EQ(info.id, id);
  EXPECT_EQ(info.parent, "");
  EXPECT_EQ(info.tokens, 7u);
  EXPECT_EQ(info.fingerprint, kFingerprint);
  EXPECT_EQ(info.model, "a model");
  EXPECT_EQ(info.raw_bytes, state.serialize().size());
  EXPECT_GT(info.stored_bytes, 0u);
  EXPECT_GE(info.last_used, info.created);
  EXPECT_FALSE(info.pinned());
}

TEST_P(EveryStore, ChecksTheModel) {
  const TempDir dir;
  write_safetensors(dir / "m", random_model(kTinyShape, 1));
  write_safetensors(dir / "other", random_model(kTinyShape, 2));
  const Model model = Model::open(dir / "m"), other = Model::open(dir / "other");
  const auto store = open();
  const std::string id = store->put(model.initial_state(), model.name());
  EXPECT_TRUE(store->get(id, model) == model.initial_state());
  expect_error({id, "another model of the same size"}, [&] { store->get(id, other); });
  const std::string stranger = store->put(state_after(1), "");
  expect_error({stranger, "another model"}, [&] { store->get(stranger, model); });
}

TEST_P(EveryStore, IsThereAgainWhenOpenedAgain) {
  const std::string id =
      open()->put(state_after(3), "m", "", {"name", {"b", "a", "b"}, R"({"x": [1, "y"]})"});
  const auto store = open();
  EXPECT_TRUE(store->get(id) == state_after(3));
  const StateInfo info = store->find("name").value();
  EXPECT_EQ(info.id, id);
  EXPECT_EQ(info.labels.tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(nlohmann::json::parse(info.labels.note), nlohmann::json::parse(R"({"x":[1,"y"]})"));
}

TEST_P(EveryStore, AForkSharesTheBytes) {
  const auto store = open();
  const std::string id = store->put(state_after(3), "m", "", {"first", {"t"}, "1"});
  const std::string fork = store->fork(id, {"second", {}, ""});
  EXPECT_NE(fork, id);
  EXPECT_TRUE(store->get(fork) == state_after(3));
  EXPECT_EQ(store->find(fork)->parent, id);
  EXPECT_EQ(store->find(fork)->labels.name, "second");
  EXPECT_TRUE(store->find(fork)->labels.tags.empty());
  EXPECT_EQ(backend_->contents(), 1u);
  // Of a fork, too.
  const std::string again = store->fork(fork);
  EXPECT_EQ(store->find(again)->parent, fork);

  store->remove(id);
  EXPECT_TRUE(store->get(fork) == state_after(3));
  EXPECT_EQ(store->find(fork)->parent, id);  // history
  store->remove(again);
  EXPECT_EQ(backend_->contents(), 1u);
  store->remove(fork);
  EXPECT_EQ(backend_->contents(), 0u);
  EXPECT_EQ(backend_->records(), 0u);
}

TEST_P(EveryStore, TakesAnIdThatWasToldBefore) {
  const auto store = open();
  const std::string id = new_state_id();
  EXPECT_EQ(store->put(state_after(1), "m", "", {}, id), id);
  expect_error({id, "taken"}, [&] { store->put(state_after(2), "m", "", {}, id); });
  expect_error({"no id"}, [&] { store->put(state_after(2), "m", "", {}, "../" + id); });
  EXPECT_TRUE(store->get(id) == state_after(1));
  EXPECT_EQ(store->list().size(), 1u);
}

TEST_P(EveryStore, ListsAndFilters) {
  const auto store = open();
  const std::string a = store->put(state_after(1), "m", "", {"", {"x", "y"}, ""});
  const std::string b = store->put(state_after(2), "m", a, {"", {"y"}, ""});
  const std::string c = store->put(State(kStateShape, 5), "n", a);
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids_of(store->list()), (Ids{a, b, c}));
  EXPECT_EQ(ids_of(store->list(with_tag("y"))), (Ids{a, b}));
  EXPECT_EQ(ids_of(store->list(with_tag("z"))), Ids{});
  EXPECT_EQ(ids_of(store->list(with_parent(a))), (Ids{b, c}));
  EXPECT_EQ(ids_of(store->list(with_fingerprint(5))), Ids{c});
  // A child of what was removed still is one.
  store->remove(a);
  EXPECT_EQ(ids_of(store->list(with_parent(a))), (Ids{b, c}));
}

TEST_P(EveryStore, ListsInPages) {
  const auto store = open();
  std::vector<std::string> ids;
  for (int i = 0; i < 7; ++i) {
    StateLabels labels;
    if (i % 3 == 0) labels.tags = {"t"};
    ids.push_back(store->put(state_after(uint64_t(i)), "", i > 4 ? ids[0] : "", labels));
  }
  const auto page = [&](const StateFilter& filter, size_t limit, size_t after, bool newest) {
    const StatePage page = store->page(
        filter, {.after = after < 7 ? ids[after] : "", .limit = limit, .newest_first = newest});
    return std::pair(ids_of(page.states), page.more);
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(page({}, 3, 7, false), std::pair(Ids({ids[0], ids[1], ids[2]}), true));
  EXPECT_EQ(page({}, 4, 2, false), std::pair(Ids({ids[3], ids[4], ids[5], ids[6]}), false));
  EXPECT_EQ(page({}, 4, 6, false), std::pair(Ids(), false));
  EXPECT_EQ(page({}, 2, 7, true), std::pair(Ids({ids[6], ids[5]}), true));
  EXPECT_EQ(page({}, 9, 1, true), std::pair(Ids({ids[0]}), false));
  EXPECT_EQ(page(with_tag("t"), 2, 0, false), std::pair(Ids({ids[3], ids[6]}), false));
  EXPECT_EQ(page(with_tag("t"), 1, 0, false), std::pair(Ids({ids[3]}), true));
  EXPECT_EQ(page(with_parent(ids[0]), 9, 7, false), std::pair(Ids({ids[5], ids[6]}), false));
  EXPECT_EQ(page(with_parent(ids[0]), 9, 6, true), std::pair(Ids({ids[5]}), false));
  store->remove(ids[3]);
  expect_error({ids[3]}, [&] { page({}, 1, 3, false); });
}

TEST_P(EveryStore, APageOfLongNotesIsShort) {
  const auto store = open();
  const std::string first = store->put(state_after(1), "");
  constexpr size_t kStates = 80;
  for (size_t i = 0; i < kStates; ++i) {
    store->fork(first, {"", {}, "\"" + std::string(60'000, 'x') + "\""});
  }
  size_t states = 0, pages = 0;
  PageOptions options;
  for (bool more = true; more; ++pages) {
    const StatePage page = store->page({}, options);
    states += page.states.size();
    options.go_on = page.next;
    more = page.more;
    if (pages == 0) store->remove(page.states.back().id);  // nobody loses the place for that
  }
  EXPECT_EQ(states, kStates + 1);
  EXPECT_EQ(pages, 2u);
}

TEST_P(EveryStore, GivesAContentInPieces) {
  const auto store = open();
  const State state = state_after(7);
  const std::string id = store->put(state, "");
  const StateInfo info = store->find(id).value();
  const auto content = store->content(info);
  content->check();
  std::string file;
  for (std::string piece = content->next(100); !piece.empty(); piece = content->next(100)) {
    file += piece;
  }
  EXPECT_EQ(content->size(), file.size());
  EXPECT_TRUE(State::deserialize(std::as_bytes(std::span(file)), "the pieces") == state);
  StateInfo other = info;
  other.checksum ^= 1;
  expect_error({"checksum"}, [&] { store->content(other)->check(); });
  backend_->damage_content(id);
  expect_error({"damaged"}, [&] { store->content(info)->check(); });
}

TEST_P(EveryStore, NamesAreUniqueAndCanMove) {
  const auto store = open();
  const std::string a = store->put(state_after(1), "m", "", {"main", {}, ""});
  const std::string b = store->put(state_after(2), "m");
  expect_error({a, "main"}, [&] { store->put(state_after(3), "m", "", {"main", {}, ""}); });
  expect_error({a, "main"}, [&] { store->fork(b, {"main", {}, ""}); });
  expect_error({a, "main"}, [&] { store->relabel(b, {"main", {}, ""}); });
  EXPECT_THROW(store->put(state_after(3), "m", "", {"main", {}, ""}), NameTaken);
  EXPECT_THROW(store->fork(b, {"main", {}, ""}), NameTaken);
  EXPECT_THROW(store->relabel(b, {"main", {}, ""}), NameTaken);
  EXPECT_THROW(store->get(new_state_id()), UnknownState);
  // What failed left nothing.
  EXPECT_EQ(store->list().size(), 2u);
  EXPECT_EQ(backend_->contents(), 2u);
  EXPECT_EQ(backend_->records(), 2u);

  store->relabel(a, {"old", {"t"}, ""});
  store->relabel(b, {"main", {}, "[]"});
  EXPECT_EQ(store->find("main")->id, b);
  EXPECT_EQ(store->find("old")->id, a);
  store->relabel(b, {});
  EXPECT_EQ(store->find("main"), std::nullopt);
  EXPECT_EQ(store->find(b)->labels.note, "");
}

TEST_P(EveryStore, RefusesLabelsThatHarm) {
  const auto store = open();
  const std::string id = store->put(state_after(1), "m");
  for (const std::string& name :
       {std::string("two\nlines"), std::string("\x1b[2J"), std::string("\xff"), id,
        std::string(101, 'a'), std::string("nul\0", 4), std::string("\xc2\x9b")}) {
    expect_error({"name"}, [&] { store->relabel(id, {name, {}, ""}); });
    expect_error({"tag"}, [&] { store->relabel(id, {"", {name}, ""}); });
  }
  // No part of an address, so no name; a tag is none.
  for (const std::string name : {".", "..", "a/b", "/", "a\\b", "../up"}) {
    expect_error({"name", name}, [&] { store->relabel(id, {name, {}, ""}); });
    expect_error({"name", name}, [&] { store->put(state_after(2), "m", "", {name, {}, ""}); });
    expect_error({"name", name}, [&] { store->fork(id, {name, {}, ""}); });
    store->relabel(id, {"", {name}, ""});
  }
  expect_error({"tag"}, [&] { store->relabel(id, {"", {""}, ""}); });
  expect_error({"note", "JSON"}, [&] { store->relabel(id, {"", {}, "{"}); });
  expect_error({"note", "65"}, [&] {
    store->relabel(id, {"", {}, '"' + std::string(65536, 'a') + '"'});
  });
  store->relabel(id, {"Gänse im März", {"../up"}, ""});
  EXPECT_EQ(store->find("Gänse im März")->id, id);
}

TEST_P(EveryStore, RemembersWhenAStateWasUsed) {
  std::string a, b;
  double used = 0;
  {
    const auto store = open();
    a = store->put(state_after(1), "m");
    b = store->put(state_after(2), "m");
    EXPECT_EQ(store->find(a)->last_used, store->find(a)->created);
    store->get(a);
    used = store->find(a)->last_used;
    EXPECT_GT(used, store->find(b)->last_used);
    EXPECT_EQ(store->list()[0].last_used, used);
  }
  const auto store = open();
  EXPECT_EQ(store->find(a)->last_used, used);
  EXPECT_EQ(store->find(b)->last_used, store->find(b)->created);
}

TEST_P(EveryStore, WhatIsReadBecomesHot) {
  const std::string id = open()->put(state_after(1), "m");
  const auto store = open(1 << 20);
  State first = store->get(id);
  first.att_shift(0)[0] += 1;  // the caller's, not the store's
  backend_->damage_content(store->find(id)->content);
  EXPECT_TRUE(store->get(id) == state_after(1));
  expect_error({id, "damaged"}, [&] { open()->get(id); });
}

TEST_P(EveryStore, ServesManyThreads) {
  const auto store = open(20'000);
  const std::string shared = store->put(state_after(1000), "m");
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 5; ++i) {
        const uint64_t n = 10 * t + i;
        const std::string id = store->put(state_after(n), "m", shared);
        const std::string fork = store->fork(id, {"thread " + std::to_string(n), {}, ""});
        if (!(store->get(fork) == state_after(n))) ++wrong;
        if (!(store->get(shared) == state_after(1000))) ++wrong;
        if (store->find("thread " + std::to_string(n))->id != fork) ++wrong;
        store->relabel(id, {"", {"done"}, ""});
        if (store->list(with_parent(id)).size() != 1) ++wrong;
        store->remove(fork);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store->list(with_tag("done")).size(), 20u);
  EXPECT_EQ(store->list(with_parent(shared)).size(), 20u);
  EXPECT_EQ(store->list().size(), 21u);
}

// Two that are open at once, as two servers are, see what each other does.
TEST_P(EveryStore, IsOpenMoreThanOnce) {
  const auto one = open(1 << 20), other = open(1 << 20);
  const std::string a = one->put(state_after(1), "m", "", {"main", {}, ""});
  EXPECT_TRUE(other->get(a) == state_after(1));
  EXPECT_EQ(other->find("main")->id, a);
  expect_error({a, "main"}, [&] { other->put(state_after(2), "m", "", {"main", {}, ""}); });
  const std::string b = other->fork(a, {"", {"x"}, ""});
  other->relabel(a, {});
  EXPECT_EQ(one->find("main"), std::nullopt);
  other->remove(a);
  expect_error({"no state"}, [&] { one->get(a); });
  EXPECT_TRUE(one->get(b) == state_after(1));
  one->remove(b);
  expect_error({"no state"}, [&] { other->get(b); });
  EXPECT_EQ(backend_->contents(), 0u);
}

// Two want one name at the same time: one of them gets it.
TEST_P(EveryStore, ANameGoesToOne) {
  const auto one = open(), other = open();
  const std::string base = one->put(state_after(1), "m");
  constexpr int kNames = 20;
  std::atomic<int> won = 0, lost = 0;
  const auto take = [&](States& store) {
    for (int i = 0; i < kNames; ++i) {
      try {
        store.fork(base, {"name " + std::to_string(i), {}, ""});
        ++won;
      } catch (const NameTaken&) {
        ++lost;
      }
    }
  };
  std::thread first([&] { take(*one); }), second([&] { take(*other); });
  first.join();
  second.join();
  EXPECT_EQ(won, kNames);
  EXPECT_EQ(lost, kNames);
  EXPECT_EQ(one->list(with_parent(base)).size(), size_t(kNames));
}

// Whether a fork comes before its source's removal or too late: bytes are there for all that is
// listed, and for nothing else.
TEST_P(EveryStore, AForkBesideARemovalIsWholeOrNotAtAll) {
  const auto one = open(), other = open();
  for (uint64_t n = 0; n < 20; ++n) {
    const std::string id = one->put(state_after(n), "m");
    std::string fork;
    std::thread forking([&] {
      try {
        fork = other->fork(id);
      } catch (const Error&) {
      }
    });
    one->remove(id);
    forking.join();
    EXPECT_EQ(one->find(fork).has_value(), !fork.empty());
    if (!fork.empty()) {
      EXPECT_TRUE(one->get(fork) == state_after(n));
    }
  }
  EXPECT_EQ(backend_->contents(), one->list().size());
  EXPECT_EQ(backend_->records(), one->list().size());
}

INSTANTIATE_TEST_SUITE_P(Stores, EveryStore, testing::Values("Folder", "Redis"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace anser
