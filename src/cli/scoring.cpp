#include "cli/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "anser/error.h"
#include "base/read_json.h"
#include "cli/console.h"
#include "cli/feed.h"
#include "cli/progress.h"

namespace anser {
namespace {

size_t vocab_of(const Engine& engine) {
  return size_t(engine.model().hyperparameters().vocab);
}

// Tokens at a time whose logits take some 64 MB.
size_t piece_tokens(size_t vocab) {
  return std::clamp<size_t>((size_t(16) << 20) / vocab, 1, kFeedPiece);
}

// KL(base || model) in nats and mean |difference| of one position.
void add_position(std::span<const float> logits, std::span<const float> base, Divergence& sum) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  const double base_largest = *std::max_element(base.begin(), base.end());
  double z = 0, base_z = 0, difference = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    z += std::exp(double(logits[i]) - largest);
    base_z += std::exp(double(base[i]) - base_largest);
    difference += std::abs(double(logits[i]) - double(base[i]));
  }
  const double log_z = largest + std::log(z), base_log_z = base_largest + std::log(base_z);
  double kl = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double base_log_p = double(base[i]) - base_log_z;
    kl += std::exp(base_log_p) * (base_log_p - (double(logits[i]) - log_z));
  }
  sum.tokens += 1;
  sum.same_best += argmax(logits) == argmax(base);
  sum.kl_sum += kl;
  sum.kl_max = std::max(sum.kl_max, kl);
  sum.difference += difference / double(logits.size());
}

}  // namespace

double Perplexity::loss() const {
  return nats / double(tokens);
}
double Perplexity::perplexity() const {
  return std::exp(loss());
}
double Perplexity::bits_per_byte() const {
  return nats / std::log(2.0) / double(bytes);
}

Perplexity score_text(Engine& engine, const std::string& text, int64_t limit) {
  const std::vector<Token> tokens = engine.model().tokenizer().encode_document(text);
  const Tokenizer& tokenizer = engine.model().tokenizer();
  if (tokens.size() < 2) throw Error("the text is too short: there is no token to predict");
  size_t scored = tokens.size() - 1;
  if (limit > 0) scored = std::min(scored, size_t(limit));

  const size_t vocab = vocab_of(engine), most = piece_tokens(vocab);
  std::vector<float> logits(std::min(most, scored) * vocab);
  State state = engine.model().initial_state();
  Perplexity sum;
  Progress progress("scoring");
  for (size_t done = 0; done < scored;) {
    const size_t n = std::min(most, scored - done);
    const Sequence piece{&state, std::span(tokens).subspan(done, n), LogitsFor::all, logits.data()};
    engine.forward(std::span(&piece, 1));
    for (size_t i = 0; i < n; ++i) {
      const Token next = tokens[done + i + 1];
      sum.nats -= log_probability(std::span(logits).subspan(i * vocab, vocab), next);
      sum.bytes += int64_t(tokenizer.bytes_of(next).size());
    }
    done += n;
    sum.tokens += int64_t(n);
    progress.update(fmt::format("{} of {} tokens, loss {:.4f}", done, scored, sum.loss()));
  }
  return sum;
}

double Lambada::perplexity() const {
  return std::exp(nats / double(examples));
}
double Lambada::accuracy() const {
  return double(correct) / double(examples);
}

std::vector<std::string> read_lambada(const std::string& path, int64_t limit) {
  const std::string content = read_text(path);
  std::vector<std::string> texts;
  int64_t line_number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto object = find_json<nlohmann::json>(line).value_or(nullptr);
    if (!object.is_object() || !object.contains("text") || !object["text"].is_string()) {
      throw Error(fmt::format("{}:{}: expected a JSON object with a string \"text\", found {:.60}",
                              path, line_number, line));
    }
    const std::string text = object["text"];
    if (text.find(' ') == std::string::npos || text.back() == ' ') {
      throw Error(fmt::format("{}:{}: the text must end with a word after a space, found {:.60}",
                              path, line_number, text));
    }
    texts.push_back(text);
    if (limit > 0 && int64_t(texts.size()) == limit) break;
  }
  if (texts.empty()) throw Error(fmt::format("{}: no texts in it", path));
  return texts;
}

Lambada score_lambada(Engine& engine, const std::vector<std::string>& texts) {
  constexpr size_t kAtOnce = 16;
  const Model& model = engine.model();
  const size_t vocab = vocab_of(engine);
  struct Example {
    State state;
    std::vector<Token> context, target;
    std::vector<float> logits;  // after all but the last token of the target, [target - 1][vocab]
  };
  Lambada sum;
  Progress progress("scoring");
  for (size_t begin = 0; begin < texts.size(); begin += kAtOnce) {
    std::vector<Example> examples(std::min(kAtOnce, texts.size() - begin));
    std::vector<Sequence> contexts, targets;
    for (size_t i = 0; i < examples.size(); ++i) {
      Example& example = examples[i];
      const std::string& text = texts[begin + i];
      const size_t space = text.rfind(' ');
      example.state = model.initial_state();
      example.context = model.tokenizer().encode_document(text.substr(0, space));
      example.target = model.tokenizer().encode(text.substr(space));
      if (example.context.empty()) throw Error("a text with no context: nothing to predict from");
      contexts.push_back({&example.state, example.context, LogitsFor::last, nullptr});
    }
    engine.forward(contexts);
    // The context's logits predict the target's first token.
    for (Example& example : examples) {
      if (example.target.size() < 2) continue;
      example.logits.resize((example.target.size() - 1) * vocab);
    }
    std::vector<std::vector<float>> first;
    for (Example& example : examples) first.push_back(example.state.logits());
    for (Example& example : examples) {
      if (example.logits.empty()) continue;
      targets.push_back({&example.state, std::span(example.target).first(example.target.size() - 1),
                         LogitsFor::all, example.logits.data()});
    }
    if (!targets.empty()) engine.forward(targets);
    for (size_t i = 0; i < examples.size(); ++i) {
      const Example& example = examples[i];
      bool correct = true;
      for (size_t t = 0; t < example.target.size(); ++t) {
        const std::span<const float> logits =
            t == 0 ? std::span<const float>(first[i])
                   : std::span<const float>(example.logits).subspan((t - 1) * vocab, vocab);
        sum.nats -= log_probability(logits, example.target[t]);
        correct = correct && argmax(logits) == example.target[t];
      }
      sum.correct += correct;
    }
    sum.examples += int64_t(examples.size());
    progress.update(fmt::format("{} of {} texts, perplexity {:.2f}, accuracy {:.1f} %",
                                sum.examples, texts.size(), sum.perplexity(),
                                100 * sum.accuracy()));
  }
  return sum;
}

Divergence compare_models(Engine& engine, Engine& base, const std::string& text, int64_t limit) {
  const size_t vocab = vocab_of(engine);
  if (vocab != vocab_of(base)) {
    throw Error(fmt::format(
        "{} has {} tokens and {} has {}: only models with the same vocabulary can be compared",
        engine.model().name(), vocab, base.model().name(), vocab_of(base)));
  }
  std::vector<Token> tokens = base.model().tokenizer().encode_document(text);
  if (limit > 0 && tokens.size() > size_t(limit)) tokens.resize(size_t(limit));
  if (tokens.empty()) throw Error("the text is empty: there is nothing to compare");

  const size_t most = piece_tokens(vocab);
  std::vector<float> logits(std::min(most, tokens.size()) * vocab), base_logits(logits.size());
  State state = engine.model().initial_state(), base_state = base.model().initial_state();
  Divergence sum;
  Progress progress("comparing");
  for (size_t done = 0; done < tokens.size();) {
    const size_t n = std::min(most, tokens.size() - done);
    const auto piece = std::span<const Token>(tokens).subspan(done, n);
    const Sequence one{&state, piece, LogitsFor::all, logits.data()};
    const Sequence other{&base_state, piece, LogitsFor::all, base_logits.data()};
    engine.forward(std::span(&one, 1));
    base.forward(std::span(&other, 1));
    for (size_t i = 0; i < n; ++i) {
      add_position(std::span(logits).subspan(i * vocab, vocab),
                   std::span(base_logits).subspan(i * vocab, vocab), sum);
    }
    done += n;
    progress.update(fmt::format("{} of {} tokens, KL {:.6f}", done, tokens.size(), sum.mean_kl()));
  }
  return sum;
}

}  // namespace anser
