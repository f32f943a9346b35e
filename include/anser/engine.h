// The engine: a model made ready on a device, and the one call that advances states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "anser/model.h"
#include "anser/sampling.h"
#include "anser/state.h"

namespace anser {

struct StateTrace;

// automatic: an NVIDIA GPU where this program and machine have one that can be used, else the CPU.
enum class Device { automatic, cpu, cuda };

struct EngineOptions {
  Device device = Device::automatic;
  int threads = 0;  // of the CPU; 0: one per core that this process may use
  // Rows (tokens of all sequences together) that are computed at once; longer prompts are cut into
  // pieces of this size, which changes no result. More rows read the weights less often and take
  // more memory: about 4 (14 D + 2 F + ranks) bytes a row. 0: what suits the device, 256 on the
  // CPU, up to 4096 on a GPU that has the memory.
  int max_rows = 0;
  // The rest is for GPUs; the CPU always keeps the promise of `invariant`, and has no 16-bit
  // states.
  //
  // The same bits whoever else is in a batch and however a prompt is cut into calls. Off, a GPU
  // takes the fastest kernels for a step's number of rows, whose sums differ in the last bits, and
  // prompts pass through the recurrence in chunks of 16 tokens. On, one way serves all: prompts
  // take longer, and weights that are multiplied by zero are read, too.
  bool invariant = false;
  // The matrices of states lie in device memory as fp16, in half the room and traffic: for many
  // sequences at once. Arithmetic stays fp32. A State that is looked at, saved or moved is fp32 as
  // ever. docs/performance.md says what it costs. Engine::create throws Error on the CPU.
  bool state16 = false;
};

// The NVIDIA GPUs that can be used: "NVIDIA H200, compute capability 9.0, 139.2 of 140.7 GB free".
// Where there is none, `why_none` says what is missing. Device::cuda is the first.
struct CudaDevices {
  std::vector<std::string> usable;
  std::string why_none;
};
CudaDevices cuda_devices();

enum class LogitsFor { none, last, all };

// One sequence's part of a forward call.
struct Sequence {
  State* state;                   // read, and advanced by tokens.size()
  std::span<const Token> tokens;  // may be of any length; empty is an error
  LogitsFor wanted = LogitsFor::last;
  // For LogitsFor::all: [tokens.size()][vocab], the caller's. For none and last: unused. With
  // `last` and `all`, the last row also goes to state->logits(); with `none` state->logits() is
  // emptied.
  float* logits = nullptr;
  // On the CPU: what each token does to the state is added here (anser/state_trace.h). The results
  // are the same, the step takes longer.
  StateTrace* trace = nullptr;
};

// A token to be drawn from a state's logits.
struct Draw {
  const State* state;
  Sampler* sampler;
  Token token = 0;  // the result
};

// One phase of a step (src/model/forward.h), all layers together: how long it took, and the least
// that it must do.
struct PhaseTime {
  std::string name;
  int times;  // that it happens in a step: layers, or once
  double seconds;
  size_t bytes;  // of weights and states
  double flops;  // of matrices, a multiply-add counting as two
};

// One engine does one call at a time: calls from several threads must be serialised by the caller.
// Several engines may share a Model and run at the same time.
class Engine {
 public:
  // Makes the weights ready: the CPU keeps the mapped bytes and repacks only what its kernels
  // cannot read in place. Throws Error when the device is not available.
  static std::unique_ptr<Engine> create(const Model& model, const EngineOptions& options = {});
  virtual ~Engine() = default;

  // Prefill, decode and scoring are this one call: feeds every sequence its tokens. The sequences
  // must have different states. What a sequence computes does not depend on the others, nor on how
  // its tokens are cut into calls: bit for bit on the CPU, and on a GPU with options.invariant.
  //
  // A GPU may still be working when forward() returns; whoever needs its results waits for them:
  // sample(), looking at a state, wait(), and forward() itself with LogitsFor::all.
  //
  // Throws Error, before any state has changed, when a token is outside the vocabulary, a state
  // belongs to another model, a sequence is empty, or a trace is wanted of a GPU; and when a result
  // is not finite, naming the weight that is to blame where one is. Of a GPU's step the next call
  // that waits throws that, or one of the next two calls of forward().
  virtual void forward(std::span<const Sequence> batch) = 0;

  void forward(State& state, std::span<const Token> tokens) {
    const Sequence one{&state, tokens, LogitsFor::last, nullptr};
    forward(std::span(&one, 1));
  }

  // Draws a token for each, as sampler->sample(state->logits()) does in this order: the same tokens
  // on every device that has the same logits. On a GPU the logits stay there but for a few
  // candidates; where a draw depends on more than these, all are fetched. Several draws may be from
  // one state, and by one sampler. Throws Error like Sampler::sample and like wait(); then some
  // samplers have drawn.
  virtual void sample(std::span<Draw> draws);

  Token sample(const State& state, Sampler& sampler) {
    Draw one{&state, &sampler};
    sample(std::span(&one, 1));
    return one.token;
  }

  // Calls work(i) once for every i in [0, count), on the threads that the engine computes with
  // where it computes on the CPU: what a step means for each of many texts, while they would only
  // wait. The calls may run at the same time. `work` may throw, and must not call the engine; when
  // all have been called, what the lowest i threw is thrown again.
  virtual void for_each(size_t count, const std::function<void(size_t)>& work);

  // Returns when everything that was begun is done. Throws Error when a step has failed.
  virtual void wait() {}

  virtual const Model& model() const = 0;
  virtual Device device() const = 0;  // cpu or cuda
  virtual int threads() const = 0;
  // "avx512", "cuda:0 NVIDIA H200": what does the work.
  virtual std::string backend() const = 0;
  // Bytes that a step of `rows` sequences, one token each, reads and writes at the least: weights
  // once, states read and written. Weights of the channel mix that were skipped, because what they
  // are multiplied by was zero, are left out at the share seen so far.
  virtual size_t step_bytes(int rows) const = 0;
  // Where the time of a step goes, for measuring: the phases of a batch that fits into max_rows.
  // The states are of no use afterwards. The CPU's phases are timed where they happen, a GPU's each
  // by itself (src/cuda/time_phases.cpp), without copying logits to the host.
  virtual std::vector<PhaseTime> phase_times(std::span<const Sequence> batch) = 0;
  // The share of zeros in the channel mix's hidden activations over all steps of few rows so far,
  // 0 to 1; negative before the first.
  virtual double zero_share() const = 0;
};

}  // namespace anser
