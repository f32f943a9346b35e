// How long it took, for the line at the end of `anser run` and for its --json.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "anser/engine.h"
#include "anser/sampling.h"

namespace anser {

struct Statistics {
  Statistics(const Engine& engine, double load_s) : engine(engine), load_s(load_s) {}

  const Engine& engine;
  double load_s;
  size_t prompt_tokens = 0, generated_tokens = 0;
  double prompt_s = 0, generated_s = 0;

  template <typename Work>
  void time_prompt(size_t tokens, const Work& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    prompt_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    prompt_tokens = tokens;
  }

  // `work` returns the number of tokens that it generated.
  template <typename Work>
  void time_generation(const Work& work) {
    const auto begin = std::chrono::steady_clock::now();
    generated_tokens = work();
    generated_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  double generated_rate() const;  // tokens/s; 0 when nothing was generated
  double gb_s() const;            // of weights and state read and written while generating

  // "prompt 6 tokens, 812 tok/s; generated 100 tokens, 1204 tok/s, 9.12 GB/s = 41 % of ...". After
  // a generation that took long enough it measures the memory's bandwidth, which takes 0.1 s.
  std::string line(const SamplingOptions& sampling) const;
};

}  // namespace anser
