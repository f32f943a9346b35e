// One step of all texts in work.
#include <algorithm>
#include <cmath>
#include <new>
#include <span>
#include <utility>

#include "engine/logprobs.h"
#include "engine/scheduler_work.h"
#include "text/utf8.h"

namespace anser {
namespace {

// Of prompts whose tokens' probabilities are wanted: so many logits are kept at a time, 64 MB, and
// of so many tokens, of which listeners make some kilobytes each.
constexpr size_t kPromptLogits = size_t(16) << 20, kPromptRows = 1024;

// Of ConstraintMatcher::prepare(): what the next tokens' masks may cost in the step itself, all
// texts together and each. Ordinary ones need less, and are not worth a change of threads.
constexpr size_t kUnitsOfStep = 600'000, kUnitsOfText = 200'000;

// Whether all is done. An error is left to whoever does the rest.
bool prepare(ConstraintMatcher& matcher, size_t units) {
  try {
    while (units > 0) {
      if (matcher.prepare(units)) return true;
    }
  } catch (const std::exception&) {
  }
  return false;
}

}  // namespace

void Scheduler::Work::step() {
  std::vector<Sequence> batch;
  std::vector<Text*> texts;
  choose(batch, texts);
  if (!batch.empty()) read(batch, texts);
  remove_finished();
  const bool drawn = draw();
  remove_finished();
  // All wait for what their constraints allow.
  if (batch.empty() && !drawn && !running_.empty()) masks_.wait(0.002);
}

size_t Scheduler::Work::client_index(ScheduledClient& client) {
  if (client.turns.last_turn == 0) client.turns.last_turn = step_ - 1;  // it has come just now
  if (std::exchange(client.seen, plans_) != plans_) {
    client.index = step_clients_.size();
    step_clients_.push_back(&client);
  }
  return client.index;
}

scheduling::Running Scheduler::Work::view_of(const Text& text, size_t client) const {
  scheduling::Running view{.id = text.id, .client = client, .decoding = text.writing};
  view.left = text.left();
  view.last_turn = text.last_turn;
  view.small = text.small;
  if (!text.in_prompt()) return view;
  view.chunk_limit = view.left;
  if (!text.checkpoints.empty()) {
    // Not past a state that is to be kept.
    const auto next = text.checkpoints.upper_bound(text.fed);
    if (next != text.checkpoints.end()) view.chunk_limit = *next - text.fed;
  }
  view.row_cost = text.row_cost();
  view.wants_logits = text.wants_all_logits();
  for (size_t i = 0; i < running_.size() && text.leader != 0; ++i) {
    if (running_[i]->id == text.leader) view.leader = i;
  }
  return view;
}

scheduling::Plan Scheduler::Work::planned(const scheduling::Budget& budget, bool with_queue) {
  ++plans_;
  step_clients_.clear();
  std::vector<scheduling::Running> running;
  std::vector<scheduling::Waiting> waiting;
  running.reserve(running_.size());
  for (const auto& text : running_) {
    running.push_back(view_of(*text, client_index(*text->client)));
  }
  if (with_queue) {
    for (const auto& text : queue_) {
      waiting.push_back({text->id, client_index(*text->client), text->left(), text->small});
    }
  }
  std::vector<scheduling::Client> clients;
  for (const ScheduledClient* client : step_clients_) clients.push_back(client->turns);
  return scheduling::plan(running, waiting, clients, budget);
}

// Who takes part in this step, and how much of their prompts is read (scheduler/plan.h); those
// begin who are to.
scheduling::Plan Scheduler::Work::plan_step() {
  ++step_;
  const auto writing = [](const auto& text) { return text->writing; };
  // Where nobody waits for a next token, longer pieces read weights less often.
  const double seconds = options_.piece_seconds * (std::ranges::any_of(running_, writing) ? 1 : 4);
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  const scheduling::Budget budget{size_t(options_.max_batch), size_t(pace_.rows_in(seconds)),
                                  std::clamp<size_t>(kPromptLogits / vocab, 1, kPromptRows), step_};
  const size_t old = running_.size();
  scheduling::Plan plan;
  {
    const std::lock_guard lock(mutex_);
    plan = planned(budget, true);
    for (const size_t client : plan.prompt_turns) ++step_clients_[client]->turns.prompt_turns;
    running_.reserve(old + plan.begin.size());  // before anything is moved
    for (const size_t i : plan.begin) running_.push_back(std::move(queue_[i]));
    std::erase(queue_, nullptr);
    stats_.running = int(running_.size());
  }
  if (running_.size() > old) {
    for (size_t i = old; i < running_.size(); ++i) {
      running_[i]->begun = Clock::now();
      running_[i]->last_turn = step_;
      begin_or_finish(*running_[i]);
      if (!running_[i]->told) is_mask_ready(*running_[i]);  // if not, the prompt is read meanwhile
    }
    remove_finished();
    plan = planned(budget, false);
  }
  for (const size_t i : plan.turns) {
    Text& text = *running_[i];
    // Where it was paused, no step has held it up.
    if (text.last_turn + 1 < step_ && !text.waited_for_mask) text.last_token = Clock::now();
    text.last_turn = text.client->turns.last_turn = step_;
  }
  return plan;
}

// Every text that has a place and is being written has its next token read; prompts share what time
// there is.
void Scheduler::Work::choose(std::vector<Sequence>& batch, std::vector<Text*>& texts) {
  const scheduling::Plan plan = plan_step();
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  size_t logits_wanted = 0, logits_used = 0;
  for (const auto& [index, count] : plan.parts) {
    if (running_[index]->wants_all_logits()) logits_wanted += count * vocab;
  }
  if (prompt_logits_.size() < logits_wanted) prompt_logits_.resize(logits_wanted);
  for (const auto& [index, count] : plan.parts) {
    Text* text = running_[index].get();
    float* logits = nullptr;
    if (text->wants_all_logits()) {
      logits = prompt_logits_.data() + std::exchange(logits_used, logits_used + count * vocab);
    }
    const std::span<const Token> piece(text->pending.data() + text->fed, count);
    const LogitsFor wanted = logits != nullptr       ? LogitsFor::all
                             : count == text->left() ? LogitsFor::last
                                                     : LogitsFor::none;
    batch.push_back({&text->state, piece, wanted, logits, text->traced ? &text->trace : nullptr});
    texts.push_back(text);
  }
}

void Scheduler::Work::read(const std::vector<Sequence>& batch, const std::vector<Text*>& texts) {
  const Clock::time_point begin = Clock::now();
  std::string error;
  try {
    for (Text* text : texts) {
      if (text->wants_all_logits() && text->fed == 0) {
        text->describe_prompt(0, std::as_const(text->state).logits());
      }
    }
    engine_.forward(batch);
    engine_.wait();
    describe_prompts(batch, texts);
  } catch (const std::bad_alloc&) {
    error = kOutOfMemory;
    for (Text* text : texts) text->no_memory = true;
  } catch (const std::exception& failure) {
    error = failure.what();
  }
  const double seconds = seconds_since(begin);

  int prompt_rows = 0, cost = 0;
  bool writing = false;
  for (size_t i = 0; i < texts.size(); ++i) {
    writing |= texts[i]->writing;
    if (!texts[i]->writing) {
      prompt_rows += int(batch[i].tokens.size());
      cost += int(batch[i].tokens.size() * texts[i]->row_cost());
    }
    texts[i]->fed += batch[i].tokens.size();
  }
  pace_.learn(cost, writing, seconds);
  {
    const std::lock_guard lock(mutex_);
    ++stats_.steps;
    stats_.paused = int(running_.size() - texts.size());
    stats_.prompt_tokens += uint64_t(prompt_rows);
  }
  if (!error.empty()) fail(batch, texts, error);
  for (Text* text : texts) {
    if (text->writing || is_finished(*text)) continue;
    keep(*text);
    go_on_after(*text);
    if (!text->give({})) finish(*text, StopReason::cancelled);
  }
}

// Each row of logits is what the next token of the prompt would have been drawn from.
void Scheduler::Work::describe_prompts(const std::vector<Sequence>& batch,
                                       const std::vector<Text*>& texts) {
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (batch[i].wanted != LogitsFor::all) continue;
    for (size_t row = 0; row < batch[i].tokens.size(); ++row) {
      texts[i]->describe_prompt(texts[i]->fed + row + 1, {batch[i].logits + row * vocab, vocab});
    }
  }
}

// A text whose numbers have left the range of floats fails alone, for the others have been read
// nonetheless. Where none is to blame, all fail.
void Scheduler::Work::fail(const std::vector<Sequence>& batch, const std::vector<Text*>& texts,
                           const std::string& error) {
  const size_t vocab = size_t(engine_.model().hyperparameters().vocab);
  const auto finite = [&](const Sequence& s) {
    const auto all = [](std::span<const float> logits) {
      return std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); });
    };
    if (s.wanted == LogitsFor::all) return all({s.logits, s.tokens.size() * vocab});
    return !s.state->has_logits() || all(std::as_const(*s.state).logits());
  };
  std::vector<bool> is_finite;
  for (const Sequence& s : batch) is_finite.push_back(finite(s));
  const bool one_is_to_blame = std::ranges::count(is_finite, false) > 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!one_is_to_blame || !is_finite[i]) finish(*texts[i], StopReason::cancelled, error);
  }
}

// Whether what the text's constraint allows next, if it has one, is at hand. If not, it is looked
// for beside the steps from now on.
bool Scheduler::Work::is_mask_ready(Text& text) {
  ConstraintMatcher* const matcher = text.continuation.sampler().matcher();
  if (matcher == nullptr || text.mask == Text::Mask::ready) return true;
  if (text.mask == Text::Mask::unknown) {
    masks_.begin(text.id, *matcher);
    text.mask = Text::Mask::in_preparation;
  }
  std::optional<MaskPreparation::Prepared> prepared = masks_.take(text.id);
  if (!prepared) return false;
  if (!prepared->error.empty()) {
    text.ambiguous = true;
    finish(text, StopReason::cancelled, prepared->error);
    return false;
  }
  *matcher = std::move(prepared->matcher);
  text.mask = Text::Mask::ready;
  return true;
}

// A token for every text that has been read to its end, and whose mask is at hand. False: for none.
bool Scheduler::Work::draw() {
  std::vector<Draw> draws;
  std::vector<Text*> texts;
  for (const auto& text : running_) {
    if (text->left() > 0) continue;
    if (!text->writing) {
      text->writing = true;
      text->continuation.begin(unfinished_end(text->state.text_end()));
      text->written = text->last_token = Clock::now();
    }
    if (text->end || !text->continuation.wants_token()) {
      finish(*text, text->end.value_or(StopReason::length));
      continue;
    }
    if (!is_mask_ready(*text)) {
      text->waited_for_mask = true;
      continue;
    }
    draws.push_back({&text->state, &text->continuation.sampler()});
    texts.push_back(text.get());
  }
  try {
    engine_.sample(draws);
  } catch (const std::bad_alloc&) {
    for (Text* text : texts) {
      text->no_memory = true;
      finish(*text, StopReason::cancelled, kOutOfMemory);
    }
    return true;
  } catch (const std::exception& failure) {
    // Some samplers have drawn already, and none can be told from the others.
    for (Text* text : texts) finish(*text, StopReason::cancelled, failure.what());
    return true;
  }
  const size_t mask_units =
      std::min(kUnitsOfText, kUnitsOfStep / std::max<size_t>(1, texts.size()));
  engine_.for_each(texts.size(), [&](size_t i) {
    try {
      take(*texts[i], draws[i].token, mask_units);
    } catch (const std::bad_alloc&) {
      texts[i]->no_memory = true;
    }
  });
  note_drawn(texts);
  for (Text* text : texts) {
    if (text->no_memory) {
      finish(*text, StopReason::cancelled, kOutOfMemory);
    } else if (text->end && (text->pending.empty() || !text->keep_state)) {
      finish(*text, *text->end);
    } else if (!text->end) {
      is_mask_ready(*text);  // if not, the engine computes meanwhile
    }
  }
  return !texts.empty();
}

// How long each has waited for its token.
void Scheduler::Work::note_drawn(const std::vector<Text*>& texts) {
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex_);
  stats_.generated_tokens += texts.size();
  for (Text* text : texts) {
    const std::chrono::duration<double> gap = now - std::exchange(text->last_token, now);
    double& longest =
        std::exchange(text->waited_for_mask, false) ? stats_.longest_mask_s : stats_.longest_step_s;
    longest = std::max(longest, gap.count());
  }
}

// What a token means for its text, and for nobody else: others' are taken at the same time.
void Scheduler::Work::take(Text& text, Token token, size_t mask_units) {
  ++text.drawn_tokens;
  if (text.top_logprobs >= 0) {
    text.details.push_back(
        token_details(std::as_const(text.state).logits(), token, text.top_logprobs));
  } else if (text.token_ids) {
    text.describe_by_id(token);
  }
  Continuation::Next next = text.continuation.take(token);
  if (next.mark) text.marked = text.state;
  if (!text.give(next.text) && !next.end) next = text.continuation.cancel();
  if (next.rewind) text.state = text.marked;
  text.pending = std::move(next.feed);
  text.fed = 0;
  text.end = next.end;
  if (!text.end && !text.continuation.wants_token()) {
    text.give(text.continuation.finish());
    text.end = StopReason::length;
  }
  if (ConstraintMatcher* matcher = text.continuation.sampler().matcher(); matcher && !text.end) {
    text.mask = prepare(*matcher, mask_units) ? Text::Mask::ready : Text::Mask::unknown;
  }
}

}  // namespace anser
