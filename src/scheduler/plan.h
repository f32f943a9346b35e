// plan(): which requests take part in the engine's next step, how much of its prompt each one
// reads, and which waiting requests begin. A pure function, so that a simulation can prove what it
// promises (tests/scheduler/).
//
// A step has places (sequences that it computes) and prompt rows (tokens of prompts that it reads
// beside the sequences that decode). Both are divided by max-min fairness between clients: a client
// that wants less than an equal share gets what it wants, the others share the rest equally, and a
// client alone may have everything. Nothing is reserved: every step is divided anew, and a running
// sequence that gets no place is paused. That costs no more than its state in memory, which is of
// fixed size.
//
// Where a client has more sequences than places, they take turns, a step each:
//   - An eighth of its places is for small requests if it has any, so that a few tokens do not wait
//     for long answers.
//   - Those that decode go first, beside the oldest prompt that has begun.
//   - Of its prompts, running and waiting alike, the shortest and the oldest are chosen in turn, so
//     that a short one never waits for long ones, and a long one still comes to its end.
// Where there are more clients than places, those go first who have waited longest.
//
// To begin a request gives it a state. Sequences that have begun are therefore bounded: a client
// may begin what its share of places takes, up to four times Budget::places for all clients
// together. To begin a short prompt in place of a long one that is being read leaves the long one
// paused: a client does so only while it has less than twice its share, and all together less than
// twice Budget::places.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace anser::scheduling {

// How many sequences may have begun, for each place of a step; all but one of them are paused.
inline constexpr size_t kBegunPerPlace = 4;

// Who asks; the `client` of a request is an index of these.
struct Client {
  uint64_t last_turn = 0;     // the last step in which one of its requests took part
  uint64_t prompt_turns = 0;  // steps in which some of its prompts were chosen
};

// A request that has begun: it has a state.
struct Running {
  uint64_t id = 0;  // in order of arrival
  size_t client = 0;
  bool decoding = false;  // its prompt has been read
  bool small = false;     // prompt and answer are a few tokens
  size_t left = 0;        // tokens to be read; 0: it needs no place in this step
  // Of a prompt: the most that one step may read of it (at least 1), and how many prompt rows
  // (Budget) each token takes.
  size_t chunk_limit = 1, row_cost = 1;
  bool wants_logits = false;  // each token of the prompt takes a row of Budget::logit_rows, too
  // It waits for another running prompt that reads the same beginning: its places are the
  // leader's.
  std::optional<size_t> leader = {};
  uint64_t last_turn = 0;  // the last step in which it took part, or began
};

// A request that has not begun.
struct Waiting {
  uint64_t id = 0;
  size_t client = 0;
  size_t left = 0;  // tokens of its prompt
  bool small = false;
};

struct Budget {
  size_t places = 1;       // at least 1
  size_t prompt_rows = 0;  // at least one token's row_cost, or no prompt is read
  size_t logit_rows = 0;
  uint64_t step = 0;  // the number of the step
};

struct Plan {
  struct Part {
    size_t sequence;  // of `running`
    size_t tokens;    // that it reads; `left` where it decodes
  };
  std::vector<Part> parts;  // each sequence at most once, at most Budget::places
  // Of `running`, who had their turns: they and their clients have this step as their last_turn.
  // Those of `parts`, but that a follower's turn is not its leader's.
  std::vector<size_t> turns;
  // Of `waiting`. Where there are any, they begin, and a plan without `waiting` is made of the
  // step.
  std::vector<size_t> begin;
  std::vector<size_t> prompt_turns;  // clients for whom prompt_turns goes up, by the first plan
};

// `running` in any order; leaders form no circles.
Plan plan(const std::vector<Running>& running, const std::vector<Waiting>& waiting,
          const std::vector<Client>& clients, const Budget& budget);

// Max-min fair shares of `amount`: each gets what it wants, or an equal share of what those who
// want less leave. Where that does not come out even, those in front get one more.
std::vector<size_t> fair_shares(const std::vector<size_t>& wanted, size_t amount);

}  // namespace anser::scheduling
