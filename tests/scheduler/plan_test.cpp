// What plan() promises, by hand and in thousands of simulated loads.
#include "scheduler/plan.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "scheduler/simulation.h"

namespace anser::scheduling {
namespace {

// So many random loads; ANSER_SEEDS for more.
int seeds() {
  const char* wanted = std::getenv("ANSER_SEEDS");
  return wanted == nullptr ? 400 : std::atoi(wanted);
}

using Shares = std::vector<size_t>;

TEST(Plan, SharesAreMaxMinFair) {
  EXPECT_EQ(fair_shares({}, 5), Shares{});
  EXPECT_EQ(fair_shares({60}, 32), Shares{32});
  EXPECT_EQ(fair_shares({60, 1}, 32), (Shares{31, 1}));
  EXPECT_EQ(fair_shares({60, 60, 2}, 32), (Shares{15, 15, 2}));
  EXPECT_EQ(fair_shares({9, 9, 9}, 8), (Shares{3, 3, 2}));
  EXPECT_EQ(fair_shares({1, 1, 1}, 2), (Shares{1, 1, 0}));
  EXPECT_EQ(fair_shares({1, 2}, 9), (Shares{1, 2}));
}

// One client has all places with long prompts, and as many waiting; a token of another is read in
// the next step, and so is a token of its own.
TEST(Plan, AShortPromptIsReadAtOnceWhateverHoldsThePlaces) {
  for (const int client : {0, 1}) {
    for (const size_t places : {1, 2, 3, 32}) {
      Simulation simulation(places, 16);
      for (int i = 0; i < 60; ++i) simulation.submit({.client = 0, .prompt = 100'000, .decode = 9});
      for (int i = 0; i < 50; ++i) simulation.step();
      const uint64_t id = simulation.submit({.client = client}).id, sent = simulation.now();
      while (!simulation.ended.contains(id) && simulation.now() < sent + 100) simulation.step();
      ASSERT_TRUE(simulation.ended.contains(id)) << places;
      EXPECT_LE(simulation.ended[id].ended - sent, places == 1 ? 3u : 2u) << places;
    }
  }
}

// One client's streams hold all places for ever: each of another's has its share from the next step
// on, and goes no slower than that.
TEST(Plan, StreamsOfAnotherClientAreHalved) {
  Simulation simulation(4, 16);
  std::vector<uint64_t> many, one;
  for (int i = 0; i < 9; ++i) many.push_back(simulation.submit({.client = 0, .decode = 9999}).id);
  for (int i = 0; i < 50; ++i) simulation.step();
  for (int i = 0; i < 2; ++i) one.push_back(simulation.submit({.client = 1, .decode = 9999}).id);
  for (int i = 0; i < 100; ++i) simulation.step();
  for (const uint64_t id : one) EXPECT_GE(simulation.find(id)->decoded, 99u);
  // Those that were interrupted take turns.
  for (int i = 0; i < 4; ++i)
    EXPECT_NEAR(double(simulation.find(many[size_t(i)])->decoded), 100, 3);
  EXPECT_EQ(simulation.running(), 6u);  // none of the others begins meanwhile
}

// The streams of the same client hold all places, and more of them wait.
TEST(Plan, AFewTokensDoNotWaitForStreams) {
  for (const size_t places : {8, 20, 32}) {
    Simulation simulation(places, 16);
    for (int i = 0; i < 60; ++i) simulation.submit({.decode = 99'999});
    for (int i = 0; i < 50; ++i) simulation.step();
    for (int round = 0; round < 20; ++round) {
      const uint64_t id = simulation.submit({.prompt = 3, .small = true}).id;
      const uint64_t sent = simulation.now();
      while (!simulation.ended.contains(id) && simulation.now() < sent + 100) simulation.step();
      ASSERT_TRUE(simulation.ended.contains(id)) << places;
      EXPECT_LE(simulation.ended[id].ended - sent, 2u) << places;
    }
    EXPECT_EQ(simulation.running(), places);
  }
}

TEST(Plan, MoreClientsThanPlacesTakeTurns) {
  Simulation simulation(4, 16);
  for (int client = 0; client < 11; ++client) {
    simulation.submit({.client = client, .prompt = 3, .decode = 9999});
  }
  for (int i = 0; i < 110; ++i) simulation.step();
  for (uint64_t id = 1; id <= 11; ++id) EXPECT_NEAR(double(simulation.find(id)->decoded), 36, 6);
  // A new one waits for one round of those that are there.
  const uint64_t id = simulation.submit({.client = 99}).id, sent = simulation.now();
  while (!simulation.ended.contains(id)) simulation.step();
  EXPECT_LE(simulation.ended[id].ended - sent, 4u);
}

TEST(Plan, PromptRowsAreDividedBetweenClients) {
  Simulation simulation(32, 180);
  for (int i = 0; i < 9; ++i) simulation.submit({.client = 0, .prompt = 10'000});
  const uint64_t other = simulation.submit({.client = 1, .prompt = 10'000}).id;
  for (int i = 0; i < 100; ++i) simulation.step();
  EXPECT_EQ(simulation.find(other)->read, 9000u);
  for (uint64_t id = 1; id <= 9; ++id) EXPECT_EQ(simulation.find(id)->read, 1000u);
}

// Alone it has everything: in order of arrival if all are alike, and nothing is paused.
TEST(Plan, AClientAloneIsServedInOrder) {
  Simulation simulation(4, 64);
  for (int i = 0; i < 20; ++i) simulation.submit({.prompt = 50, .decode = 7});
  while (!simulation.idle()) simulation.step();
  EXPECT_EQ(simulation.most_begun, 4u);
  for (uint64_t id = 2; id <= 20; ++id) {
    EXPECT_GE(simulation.ended[id].begun, simulation.ended[id - 1].begun);
  }
}

// Short requests come faster than they can be served, whatever their rhythm, and a long one among
// them still ends.
TEST(Plan, AFloodOfShortPromptsStarvesNoLongOne) {
  for (const int others : {0, 1}) {  // whose the short ones are
    for (const size_t places : {1, 2, 3, 4, 5, 8, 9}) {
      for (size_t decode = 1; decode <= 4; ++decode) {
        for (const size_t short_prompt : {1, 7, 40, 1001, 1007}) {
          const bool small = short_prompt > 1000;
          Simulation simulation(places, 16);
          const auto flood = [&] {
            while (simulation.waiting() < 2 * places + 3) {
              simulation.submit({.client = others,
                                 .prompt = short_prompt % 1000,
                                 .decode = decode,
                                 .small = small});
            }
            simulation.step();
          };
          for (int i = 0; i < 20; ++i) flood();
          const uint64_t id = simulation.submit({.client = 0, .prompt = 800, .decode = 5}).id;
          const uint64_t sent = simulation.now();
          while (!simulation.ended.contains(id) && simulation.now() < sent + 3000) flood();
          ASSERT_TRUE(simulation.ended.contains(id))
              << others << " " << places << " " << decode << " " << short_prompt;
        }
      }
    }
  }
}

TEST(Plan, AFollowersPlaceIsItsLeaders) {
  // The leader's client has a shorter prompt and an older one; its one place is never the leader's.
  std::vector<Client> clients(2);
  std::vector<Running> running(3);
  running[0] = {.id = 1, .client = 0, .left = 500, .chunk_limit = 500};
  running[1] = {.id = 2, .client = 0, .left = 900, .chunk_limit = 900};
  running[2] = {.id = 3, .client = 1, .left = 901, .chunk_limit = 901, .leader = 1};
  const Plan next = plan(running, {}, clients, {2, 100, 0, 0});
  ASSERT_EQ(next.parts.size(), 2u);
  EXPECT_EQ(next.parts[0].sequence, 0u);
  EXPECT_EQ(next.parts[1].sequence, 1u);
  EXPECT_EQ(next.parts[0].tokens, 50u);
  EXPECT_EQ(next.parts[1].tokens, 50u);
}

class Random {
 public:
  explicit Random(int seed) : generator_(unsigned(seed)) {}
  size_t below(size_t n) { return generator_() % n; }
  bool one_in(size_t n) { return below(n) == 0; }

 private:
  std::mt19937 generator_;
};

SimulatedRequest random_request(Random& random, size_t clients, size_t longest) {
  SimulatedRequest request;
  request.client = int(random.one_in(2) ? 0 : random.below(clients));  // one asks for much
  request.prompt = 1 + (random.one_in(3) ? random.below(longest) : random.below(20));
  request.decode = 1 + (random.one_in(4) ? random.below(60) : random.below(6));
  if (random.one_in(8)) request.row_cost = 3;
  if (random.one_in(8)) request.wants_logits = true;
  if (random.one_in(2)) request.stride = size_t(1) << (3 + random.below(6));
  request.small = request.prompt + request.decode < 20;
  if (random.one_in(5)) request.shared = 1 + random.below(request.prompt);
  return request;
}

// Every plan is checked (simulation.h); all that came has ended when there has been time for it,
// and a single token of somebody new has been read within one round of the clients.
TEST(Plan, HoldsInThousandsOfRandomLoads) {
  for (int seed = 0; seed < seeds(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const size_t places = 1 + random.below(random.one_in(2) ? 4 : 20);
    const size_t rows = 16 + random.below(200), clients = 1 + random.below(2 * places + 2);
    const size_t longest = 1 + random.below(600);
    Simulation simulation(places, rows);
    size_t submitted = 0;
    std::vector<std::tuple<uint64_t, uint64_t, size_t>> new_ones;  // id, when, among how many
    for (int step = 0; step < 120; ++step) {
      for (size_t i = random.below(4) * random.below(2); i > 0; --i, ++submitted) {
        simulation.submit(random_request(random, clients, longest));
      }
      if (random.one_in(12)) {
        const size_t others = simulation.clients() + 1;
        const uint64_t id = simulation.submit({.client = 1000 + step}).id;
        new_ones.emplace_back(id, simulation.now(), others);
        ++submitted;
      }
      if (random.one_in(10)) simulation.cancel(random.below(submitted + 1));
      simulation.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    for (int step = 0; !simulation.idle() && step < 20'000; ++step) {
      simulation.step();
      if (testing::Test::HasFatalFailure()) return;
    }
    ASSERT_TRUE(simulation.idle());
    for (const auto& [id, sent, others] : new_ones) {
      if (!simulation.ended.contains(id)) continue;  // cancelled
      if (simulation.ended[id].met_limit) continue;
      // Others may have come in the same round.
      const size_t round = (others + 4 + places - 1) / places;
      EXPECT_LE(simulation.ended[id].ended - sent, 2 * round + 1) << id;
    }
  }
}

}  // namespace
}  // namespace anser::scheduling
