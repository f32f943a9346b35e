#include "scheduler/plan.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace anser::scheduling {
namespace {

// A running or a waiting request.
struct Request {
  bool begun;
  size_t index;  // of `running` or `waiting`
  uint64_t id;
  size_t left;
  uint64_t last_turn;
  bool small;
};

// A client's requests, and what it may do in this step.
struct Share {
  size_t client;
  std::vector<Request> decoding, prompts;
  size_t begun = 0;
  size_t ready = 0;   // of those begun, that could take a place and have not
  size_t places = 0;  // that are its share
  size_t taken = 0;   // places that it has been given
};

bool is_shorter(const Request& a, const Request& b) {
  return std::tuple(a.left, !a.begun, a.id) < std::tuple(b.left, !b.begun, b.id);
}
bool is_older(const Request& a, const Request& b) {
  return a.id < b.id;
}
bool waited_longer(const Request& a, const Request& b) {
  return std::pair(a.last_turn, a.id) < std::pair(b.last_turn, b.id);
}

// The shortest, the oldest, the next shortest and so on; or the oldest first.
std::vector<Request> by_length_and_age(std::vector<Request> prompts, bool oldest_first) {
  std::vector<Request> by_age = prompts;
  std::ranges::sort(prompts, is_shorter);
  std::ranges::sort(by_age, is_older);
  std::vector<uint64_t> taken;  // sorted
  std::vector<Request> result;
  size_t next[2] = {0, 0};
  for (bool by_oldest = oldest_first; result.size() < by_age.size(); by_oldest = !by_oldest) {
    const std::vector<Request>& from = by_oldest ? by_age : prompts;
    size_t& at = next[by_oldest ? 1 : 0];
    while (std::ranges::binary_search(taken, from[at].id)) ++at;
    taken.insert(std::ranges::lower_bound(taken, from[at].id), from[at].id);
    result.push_back(from[at]);
  }
  return result;
}

class Planner {
 public:
  Planner(const std::vector<Running>& running, const std::vector<Waiting>& waiting,
          const std::vector<Client>& clients, const Budget& budget)
      : running_(running),
        clients_(clients),
        budget_(budget),
        begun_(running.size()),
        logit_rows_(budget.logit_rows) {
    std::vector<Share> shares(clients.size());
    for (size_t i = 0; i < running.size(); ++i) {
      const Running& each = running[i];
      Share& share = shares[each.client];
      ++share.begun;
      if (each.left == 0) continue;
      ++share.ready;
      (each.decoding ? share.decoding : share.prompts)
          .push_back({true, i, each.id, each.left, each.last_turn, each.small});
    }
    for (size_t i = 0; i < waiting.size(); ++i) {
      const Waiting& each = waiting[i];
      shares[each.client].prompts.push_back({false, i, each.id, each.left, UINT64_MAX, each.small});
    }
    for (size_t i = 0; i < clients.size(); ++i) {
      shares[i].client = i;
      if (!shares[i].decoding.empty() || !shares[i].prompts.empty()) {
        shares_.push_back(std::move(shares[i]));
      }
    }
    // Equals take turns in having what is left over.
    if (!shares_.empty()) {
      std::rotate(shares_.begin(), shares_.begin() + ptrdiff_t(budget.step % shares_.size()),
                  shares_.end());
    }
    std::ranges::stable_sort(shares_, {},
                             [&](const Share& s) { return clients[s.client].last_turn; });
  }

  Plan make() {
    std::vector<size_t> wanted;
    for (const Share& share : shares_) {
      wanted.push_back(share.decoding.size() + share.prompts.size());
    }
    const std::vector<size_t> places = fair_shares(wanted, budget_.places);
    for (size_t i = 0; i < shares_.size(); ++i) {
      shares_[i].places = places[i];
      choose(shares_[i]);
    }
    fill_places();
    divide_rows();
    return std::move(plan_);
  }

 private:
  // `oldest`: the id of the client's oldest prompt.
  bool may_begin(const Share& share, uint64_t id, uint64_t oldest) const {
    if (share.begun < share.places) return begun_ < kBegunPerPlace * budget_.places;
    // One more than twice, which is for the oldest: short ones could keep it out for ever.
    const size_t last = id == oldest ? 0 : 1;
    return share.begun + last <= 2 * share.places && begun_ + last <= 2 * budget_.places;
  }

  void take(Share& share, const Request& request) {
    ++used_;
    ++share.taken;
    if (request.begun) {
      --share.ready;
      chosen_.push_back({share.client, request.index, request});
    } else {
      plan_.begin.push_back(request.index);
      ++share.begun;
      ++begun_;
    }
  }

  void choose(Share& share) {
    size_t left = share.places;
    if (left == 0) return;
    left -= choose_small(share);
    if (share.decoding.size() >= left) return choose_in_turn(share, left);
    for (const Request& each : share.decoding) take(share, each), --left;
    if (share.prompts.empty()) return;
    plan_.prompt_turns.push_back(share.client);
    const bool oldest_first = clients_[share.client].prompt_turns % 2 == 1;
    const std::vector<Request> prompts = by_length_and_age(share.prompts, oldest_first);
    const uint64_t oldest = std::ranges::min_element(prompts, is_older)->id;
    for (const Request& each : prompts) {
      if (left == 0) break;
      if (!each.begun && !may_begin(share, each.id, oldest)) continue;
      take(share, each);
      --left;
    }
  }

  // Returns how many places they take. Those that have begun come first.
  size_t choose_small(Share& share) {
    std::vector<Request> small;
    std::ranges::copy_if(share.decoding, std::back_inserter(small), &Request::small);
    std::ranges::copy_if(share.prompts, std::back_inserter(small), &Request::small);
    std::ranges::sort(small, waited_longer);
    if (small.size() == share.decoding.size() + share.prompts.size()) return 0;  // all are alike
    size_t left = share.places / 8, taken = 0;
    for (const Request& each : small) {
      if (left == 0 || (!each.begun && begun_ >= kBegunPerPlace * budget_.places)) break;
      take(share, each);
      --left, ++taken;
      std::vector<Request>& list = is_in(share.decoding, each) ? share.decoding : share.prompts;
      std::erase_if(list, [&](const Request& other) { return other.id == each.id; });
    }
    return taken;
  }

  static bool is_in(const std::vector<Request>& list, const Request& request) {
    return std::ranges::find(list, request.id, &Request::id) != list.end();
  }

  // Those that decode would take all places: the oldest prompt has its turns among them.
  void choose_in_turn(Share& share, size_t places) {
    std::vector<Request> turns = share.decoding;
    std::vector<Request> begun;
    std::ranges::copy_if(share.prompts, std::back_inserter(begun), &Request::begun);
    if (!begun.empty()) turns.push_back(*std::ranges::min_element(begun, is_older));
    std::ranges::sort(turns, waited_longer);
    turns.resize(places);
    for (const Request& each : turns) take(share, each);
  }

  // Places of clients that may not begin what waits go to the others, to those first who have
  // least.
  void fill_places() {
    while (used_ < budget_.places) {
      Share* next = nullptr;
      for (Share& share : shares_) {
        if (share.ready > 0 && (next == nullptr || share.taken < next->taken)) {
          next = &share;
        }
      }
      if (next == nullptr) return;
      std::vector<Request> rest = next->decoding;
      std::ranges::copy_if(next->prompts, std::back_inserter(rest), &Request::begun);
      std::erase_if(rest, [&](const Request& each) {
        return std::ranges::find(chosen_, each.index, &Choice::sequence) != chosen_.end();
      });
      take(*next, *std::ranges::min_element(rest, waited_longer));
    }
  }

  size_t root(size_t sequence) const {
    while (running_[sequence].leader) sequence = *running_[sequence].leader;
    return sequence;
  }

  // What one step may read of it beyond what it has been given already.
  size_t limit(size_t sequence) const {
    const Running& it = running_[sequence];
    size_t most = std::min(it.left, it.chunk_limit) - tokens_[sequence];
    if (it.wants_logits) most = std::min(most, logit_rows_);
    return most;
  }

  // Of `rows`; returns how many it took.
  size_t give(size_t sequence, size_t rows) {
    const Running& it = running_[sequence];
    const size_t tokens = std::min(limit(sequence), rows / it.row_cost);
    tokens_[sequence] += tokens;
    if (it.wants_logits) logit_rows_ -= tokens;
    return tokens * it.row_cost;
  }

  // Chosen prompts of one client.
  struct Readers {
    size_t client;
    std::vector<Request> places;
  };

  std::vector<Readers> readers() const {
    std::vector<Readers> all;
    for (const Choice& choice : chosen_) {
      const Running& it = running_[choice.sequence];
      if (it.decoding) continue;
      auto known = std::ranges::find(all, choice.client, &Readers::client);
      if (known == all.end()) known = all.insert(known, {choice.client, {}});
      known->places.push_back(choice.request);
    }
    return all;
  }

  void divide_rows() {
    tokens_.assign(running_.size(), 0);
    const std::vector<Readers> all = readers();
    size_t cost = 1;  // the most that a token takes
    for (const Running& each : running_) cost = std::max(cost, each.row_cost);
    // Where rows are few, who has a share has a token of it; the others go first in the next step.
    const size_t sharing = std::min(all.size(), budget_.prompt_rows / cost);
    std::vector<size_t> wanted;
    for (size_t i = 0; i < sharing; ++i) {
      size_t rows = 0;
      for (const Request& place : all[i].places) rows += wanted_rows(place);
      wanted.push_back(std::max(rows, cost));
    }
    const std::vector<size_t> shares = fair_shares(wanted, budget_.prompt_rows);
    size_t left = budget_.prompt_rows;
    for (size_t i = 0; i < sharing; ++i) left -= divide(all[i], shares[i], cost);
    // What is over, because two shares were of one leader, or tokens take several rows.
    for (const Readers& each : all) {
      for (const Request& place : each.places) left -= give(root(place.index), left);
    }
    for (const Choice& choice : chosen_) {
      const Running& it = running_[choice.sequence];
      if (it.decoding) plan_.parts.push_back({choice.sequence, it.left});
      if (it.decoding || tokens_[root(choice.sequence)] > 0) plan_.turns.push_back(choice.sequence);
    }
    for (size_t i = 0; i < running_.size(); ++i) {
      if (tokens_[i] > 0) plan_.parts.push_back({i, tokens_[i]});
    }
  }

  size_t wanted_rows(const Request& place) const {
    const size_t reader = root(place.index);
    return limit(reader) * running_[reader].row_cost;
  }

  // A client's rows among its prompts: equally, and what short ones leave is for the others.
  size_t divide(const Readers& readers, size_t rows, size_t cost) {
    const bool oldest_first = clients_[readers.client].prompt_turns % 2 == 1;
    std::vector<Request> order = by_length_and_age(readers.places, oldest_first);
    order.resize(std::min(order.size(), rows / cost));
    std::vector<size_t> wanted;
    for (const Request& place : order) wanted.push_back(wanted_rows(place));
    const std::vector<size_t> shares = fair_shares(wanted, rows);
    size_t used = 0, due = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      due += shares[i];
      used += give(root(order[i].index), due - used);
    }
    return used;
  }

  struct Choice {
    size_t client;
    size_t sequence;
    Request request;
  };

  const std::vector<Running>& running_;
  const std::vector<Client>& clients_;
  const Budget& budget_;
  std::vector<Share> shares_;  // those who have waited longest first
  std::vector<Choice> chosen_;
  std::vector<size_t> tokens_;  // that each of running_ reads of its prompt
  size_t begun_, used_ = 0;
  size_t logit_rows_;
  Plan plan_;
};

// Most steps: all that is here decodes, and has a place.
bool nothing_to_divide(const std::vector<Running>& running, const std::vector<Waiting>& waiting,
                       const Budget& budget) {
  return waiting.empty() && running.size() <= budget.places &&
         std::ranges::all_of(running,
                             [](const Running& it) { return it.decoding || it.left == 0; });
}

}  // namespace

std::vector<size_t> fair_shares(const std::vector<size_t>& wanted, size_t amount) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return wanted[i]; });
  std::vector<size_t> shares(wanted.size(), 0);
  size_t others = wanted.size();
  size_t equal = 0;  // what those get who want more than that
  for (const size_t i : order) {
    equal = amount / others;
    if (wanted[i] > equal) break;
    shares[i] = wanted[i];
    amount -= wanted[i];
    --others;
  }
  if (others == 0) return shares;
  size_t more = amount - equal * others;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] <= equal) continue;
    shares[i] = equal + (more > 0 ? 1 : 0);
    if (more > 0) --more;
  }
  return shares;
}

Plan plan(const std::vector<Running>& running, const std::vector<Waiting>& waiting,
          const std::vector<Client>& clients, const Budget& budget) {
  if (!nothing_to_divide(running, waiting, budget)) {
    return Planner(running, waiting, clients, budget).make();
  }
  Plan all;
  for (size_t i = 0; i < running.size(); ++i) {
    if (running[i].left == 0) continue;
    all.parts.push_back({i, running[i].left});
    all.turns.push_back(i);
  }
  return all;
}

}  // namespace anser::scheduling
