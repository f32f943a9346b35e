// Shorthands for tests of whole models.
#pragma once

#include <memory>
#include <vector>

#include "anser/engine.h"
#include "cpu/dispatch.h"
#include "engine/cpu_engine.h"

namespace support {

inline std::vector<anser::Token> as_tokens(const std::vector<int>& ids) {
  return {ids.begin(), ids.end()};
}

// Logits after every token, fed in one call from the initial state.
inline std::vector<std::vector<float>> all_logits(anser::Engine& engine,
                                                  const std::vector<int>& ids) {
  const size_t V = engine.model().hyperparameters().vocab;
  anser::State state = engine.model().initial_state();
  const auto tokens = as_tokens(ids);
  std::vector<float> flat(tokens.size() * V);
  const anser::Sequence sequence = {&state, tokens, anser::LogitsFor::all, flat.data()};
  engine.forward(std::span(&sequence, 1));
  std::vector<std::vector<float>> rows;
  for (size_t i = 0; i < tokens.size(); ++i) {
    rows.emplace_back(flat.begin() + i * V, flat.begin() + (i + 1) * V);
  }
  return rows;
}

inline std::vector<std::vector<float>> all_logits(const std::string& path,
                                                  const std::vector<int>& ids) {
  const auto engine =
      anser::Engine::create(anser::Model::open(path), {.device = anser::Device::cpu, .threads = 2});
  return all_logits(*engine, ids);
}

}  // namespace support
