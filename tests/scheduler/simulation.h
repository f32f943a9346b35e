// A scheduler without an engine: requests come, are planned, read, decode and end, step by step,
// from nothing but a seed. After every plan all that plan() promises is checked.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "scheduler/plan.h"

namespace anser::scheduling {

struct SimulatedRequest {
  uint64_t id = 0;
  int client = 0;
  size_t prompt = 1, decode = 1;  // tokens
  size_t row_cost = 1;
  size_t stride = SIZE_MAX;  // of checkpoints: no chunk goes past a multiple of it
  bool wants_logits = false;
  bool small = false;
  size_t shared = 0;  // with the running prompt before it, if there is one
  // What became of it.
  uint64_t arrived = 0, begun = 0, ended = 0;  // steps; 0: not yet
  size_t read = 0, decoded = 0;
  bool met_limit = false;  // no more could begin while it waited
  uint64_t leader = 0, last_turn = 0;

  bool decoding() const { return read == prompt; }
};

class Simulation {
 public:
  Simulation(size_t places, size_t rows) : places_(places), rows_(rows) {}

  SimulatedRequest& submit(SimulatedRequest request) {
    request.id = ++last_id_;
    request.arrived = step_;
    waiting_.push_back(request);
    return waiting_.back();
  }

  void step() {
    ++step_;
    std::vector<int> names;
    std::vector<Client> clients;
    Plan next = make_plan(names, clients, true);
    for (const size_t client : next.prompt_turns) ++turns_[names[client]].prompt_turns;
    if (!next.begin.empty()) {
      std::set<size_t> begun(next.begin.begin(), next.begin.end());
      ASSERT_EQ(begun.size(), next.begin.size());
      std::deque<SimulatedRequest> rest;
      for (size_t i = 0; i < waiting_.size(); ++i) {
        begun.contains(i) ? begin(waiting_[i]) : rest.push_back(waiting_[i]);
      }
      waiting_ = rest;
      // The same turns as in the first plan.
      next = make_plan(names, clients, false);
    }
    most_begun = std::max(most_begun, running_.size());
    if (running_.size() == 4 * places_) last_full = step_;
    ASSERT_LE(running_.size(), 4 * places_);
    check(next, clients);
    apply(next, names);
  }

  bool idle() const { return waiting_.empty() && running_.empty(); }
  size_t waiting() const { return waiting_.size(); }
  size_t running() const { return running_.size(); }
  uint64_t now() const { return step_; }
  size_t clients() const {
    std::set<int> all;
    for (const auto& each : running_) all.insert(each.client);
    for (const auto& each : waiting_) all.insert(each.client);
    return all.size();
  }
  // One that runs or waits leaves.
  void cancel(uint64_t id) {
    std::erase_if(waiting_, [&](const auto& each) { return each.id == id; });
    std::erase_if(running_, [&](const auto& each) { return each.id == id; });
    release(id, SIZE_MAX);
  }
  const SimulatedRequest* find(uint64_t id) const {
    for (const auto& each : running_) {
      if (each.id == id) return &each;
    }
    return nullptr;
  }

  std::map<uint64_t, SimulatedRequest> ended;
  size_t most_begun = 0;
  uint64_t last_full = 0;  // the last step in which no more could begin

 private:
  void begin(SimulatedRequest request) {
    request.begun = request.last_turn = step_;
    request.met_limit = last_full > 0 && last_full >= request.arrived;
    for (const auto& other : running_) {
      if (request.shared == 0 || other.decoding() || other.read >= request.shared) continue;
      if (other.prompt < request.shared || request.prompt < request.shared) continue;
      request.leader = other.id;
      break;
    }
    running_.push_back(request);
  }

  Plan make_plan(std::vector<int>& names, std::vector<Client>& clients, bool with_waiting) {
    std::vector<Running> running;
    std::vector<Waiting> waiting;
    // A client that has nothing here is forgotten; one that comes has just had its turn.
    const auto index = [&](int client) {
      auto at = std::ranges::find(names, client);
      if (at == names.end()) {
        const auto [known, is_new] = turns_.try_emplace(client);
        if (is_new) known->second.last_turn = step_ - 1;
        clients.push_back(known->second);
        at = names.insert(names.end(), client);
      }
      return size_t(at - names.begin());
    };
    if (!with_waiting) {
      // Turns as in the plan before.
    } else {
      names.clear();
      clients.clear();
      std::erase_if(turns_, [&](const auto& entry) {
        const auto its = [&](const auto& each) { return each.client == entry.first; };
        return std::ranges::none_of(running_, its) && std::ranges::none_of(waiting_, its);
      });
    }
    for (const auto& each : running_) {
      Running view{each.id, index(each.client), each.decoding()};
      view.left = each.decoding() ? 1 : each.prompt - each.read;
      view.chunk_limit = std::min(view.left, each.stride - each.read % each.stride);
      view.row_cost = each.row_cost;
      view.wants_logits = each.wants_logits;
      view.last_turn = each.last_turn;
      view.small = each.small;
      for (size_t i = 0; i < running_.size(); ++i) {
        if (each.leader != 0 && running_[i].id == each.leader) view.leader = i;
      }
      running.push_back(view);
    }
    if (with_waiting) {
      for (const auto& each : waiting_)
        waiting.push_back({each.id, index(each.client), each.prompt, each.small});
    }
    running_view_ = running;
    return plan(running, waiting, clients, {places_, rows_, 64, step_});
  }

  void check(const Plan& next, const std::vector<Client>& clients) {
    const std::vector<Running>& running = running_view_;
    std::set<size_t> seen;
    size_t rows = 0, logit_rows = 0, prompts = 0, could_read_more = 0, cost = 1;
    std::vector<size_t> places(clients.size()), paused(clients.size());
    for (const Plan::Part& part : next.parts) {
      ASSERT_TRUE(seen.insert(part.sequence).second);
      const Running& it = running[part.sequence];
      ASSERT_FALSE(it.leader);
      ASSERT_GT(part.tokens, 0u);
      ++places[it.client];
      if (it.decoding) {
        ASSERT_EQ(part.tokens, it.left);
        continue;
      }
      ASSERT_LE(part.tokens, std::min(it.left, it.chunk_limit));
      rows += part.tokens * it.row_cost;
      if (it.wants_logits) logit_rows += part.tokens;
      if (part.tokens < std::min(it.left, it.chunk_limit) && !it.wants_logits) ++could_read_more;
      ++prompts;
    }
    ASSERT_LE(next.parts.size(), places_);
    ASSERT_LE(rows, rows_);
    ASSERT_LE(logit_rows, 64u);
    bool followers = false, prompts_wait = false;
    for (size_t i = 0; i < running.size(); ++i) {
      followers |= running[i].leader.has_value();
      cost = std::max(cost, running[i].row_cost);
      if (seen.contains(i)) continue;
      ++paused[running[i].client];
      prompts_wait |= !running[i].decoding;
    }
    // Nothing is left unused that somebody could use.
    if (could_read_more > 0) {
      ASSERT_GT(rows + cost, rows_);
    }
    // Chosen prompts may be left without rows.
    if (followers || rows + cost > rows_ || logit_rows >= 64) return;
    ASSERT_EQ(next.parts.size(), std::min(places_, running.size())) << prompts_wait;
    // Who has something paused has no less than anybody else, but for one.
    for (size_t i = 0; i < clients.size(); ++i) {
      for (size_t k = 0; k < clients.size() && paused[i] > 0; ++k) {
        ASSERT_GE(places[i] + 1, places[k]);
      }
    }
  }

  void apply(const Plan& next, const std::vector<int>& names) {
    for (const size_t turn : next.turns) {
      running_[turn].last_turn = turns_[names[running_view_[turn].client]].last_turn = step_;
    }
    std::vector<uint64_t> gone;
    for (const Plan::Part& part : next.parts) {
      SimulatedRequest& it = running_[part.sequence];
      if (running_view_[part.sequence].decoding) {
        ++it.decoded;
      } else {
        it.read += part.tokens;
        // The first token is drawn in the step that reads the prompt's end.
        if (it.decoding()) ++it.decoded;
      }
      if (it.decoding() && it.decoded >= it.decode) {
        it.ended = step_;
        ended[it.id] = it;
        gone.push_back(it.id);
      }
    }
    for (const auto& each : std::vector(running_)) release(each.id, each.read);
    for (const uint64_t id : gone) cancel(id);
  }

  // Those who wait for it go on when it has read what they share, or is gone.
  void release(uint64_t leader, size_t read) {
    for (SimulatedRequest& each : running_) {
      if (each.leader != leader || read < each.shared) continue;
      each.leader = 0;
      if (read != SIZE_MAX) each.read = std::max(each.read, std::min(each.shared, each.prompt - 1));
    }
  }

  const size_t places_, rows_;
  uint64_t step_ = 0, last_id_ = 0;
  std::deque<SimulatedRequest> waiting_;
  std::vector<SimulatedRequest> running_;
  std::vector<Running> running_view_;
  std::map<int, Client> turns_;
};

}  // namespace anser::scheduling
