// anser eval against sums made here from `anser logits`.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/program.h"
#include "reference/rwkv7_reference.h"

namespace support {
namespace {

using Json = nlohmann::json;

// fp32 logits of a few units are right to about 1e-5 (see logits_test.cpp), and so are mean losses.
constexpr double kTolerance = 1e-4;

Json eval(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "eval");
  arguments.push_back("--json");
  const Result result = run_anser(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return Json::parse(result.out);
}

// Natural log probabilities of every token after the first, from the reference.
std::vector<double> log_probabilities(const reference::Model& model, const std::vector<int>& tokens,
                                      std::vector<bool>* best = nullptr) {
  reference::State state(model);
  const auto logits = reference::run(model, state, tokens);
  std::vector<double> result;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    double sum = 0, largest = -1e300;
    for (const double logit : logits[i]) sum += std::exp(logit), largest = std::max(largest, logit);
    const double logit = logits[i][size_t(tokens[i + 1])];
    result.push_back(logit - std::log(sum));
    if (best != nullptr) best->push_back(logit == largest);
  }
  return result;
}

std::vector<int> world_tokens(const std::string& text) {
  std::vector<int> tokens = {0};
  for (const char c : text) tokens.push_back(uint8_t(c) + 1);
  return tokens;
}

reference::Model vocabulary_reference() {
  const TempDir folder;
  GgufOptions options;
  options.byte_vocabulary = true;
  return write_gguf(folder / "x", random_model({.vocab = 300}, 2), options).reference();
}

TEST(Eval, PerplexityStartsWithTokenZero) {
  const TempDir folder;
  const std::string text = "The quick brown fox.\n";
  write_file(folder / "text", text);
  double nats = 0;
  for (const double p : log_probabilities(vocabulary_reference(), world_tokens(text))) nats -= p;
  const Json result = eval({"-m", vocabulary_model(), "--perplexity", folder / "text"});
  EXPECT_EQ(result["tokens"], text.size());
  EXPECT_EQ(result["bytes"], text.size());
  const double loss = nats / double(text.size());
  EXPECT_NEAR(result["loss"].get<double>(), loss, kTolerance);
  EXPECT_NEAR(result["perplexity"].get<double>(), std::exp(loss), kTolerance * std::exp(loss));
  EXPECT_NEAR(result["bits_per_byte"].get<double>(), loss / std::log(2), 2 * kTolerance);
}

// A loss above 709 is one, but its perplexity is none.
TEST(Eval, APerplexityThatIsInfiniteIsAnError) {
  const TempDir folder;
  RandomModel model = random_model({.vocab = 256}, 1);
  for (double& x : model["head.weight"].values) x *= 0x1p16;
  write_safetensors(folder / "m", model);
  write_file(folder / "text", "abcdef");
  const Result result =
      run_anser({"eval", "-m", folder / "m", "--perplexity", folder / "text", "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("perplexity is inf"), std::string::npos) << result.err;
}

// A byte order mark is no part of a text; its line ends are.
TEST(Eval, FilesMayComeFromAnEditorOfWindows) {
  const TempDir folder;
  write_file(folder / "text", "one\r\ntwo");
  write_file(folder / "marked", "\xef\xbb\xbfone\r\ntwo");
  EXPECT_EQ(eval({"-m", vocabulary_model(), "--perplexity", folder / "marked"}),
            eval({"-m", vocabulary_model(), "--perplexity", folder / "text"}));
  write_file(folder / "l.jsonl", "{\"text\": \"a b\"}\n{\"text\": \"c d\"}\n");
  write_file(folder / "windows.jsonl",
             "\xef\xbb\xbf{\"text\": \"a b\"}\r\n\r\n{\"text\": \"c d\"}\r\n");
  EXPECT_EQ(eval({"-m", vocabulary_model(), "--lambada", folder / "windows.jsonl"}),
            eval({"-m", vocabulary_model(), "--lambada", folder / "l.jsonl"}));
  write_file(folder / "utf16", std::string("\xff\xfeo\0n\0", 6));
  const Result refused =
      run_anser({"eval", "-m", vocabulary_model(), "--perplexity", folder / "utf16"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("UTF-16"), std::string::npos) << refused.err;
}

TEST(Eval, BytesScoreAllButTheFirst) {
  const TempDir folder;
  write_file(folder / "text", "abcdef");
  double nats = 0;
  const auto model = random_model({.vocab = 256}, 1).reference();
  for (const double p : log_probabilities(model, {'a', 'b', 'c', 'd', 'e', 'f'})) nats -= p;
  Json result = eval({"-m", byte_model(), "--perplexity", folder / "text"});
  EXPECT_EQ(result["tokens"], 5);
  EXPECT_NEAR(result["loss"].get<double>(), nats / 5, kTolerance);
  result = eval({"-m", byte_model(), "--perplexity", folder / "text", "--limit", "2"});
  EXPECT_EQ(result["tokens"], 2);
  write_file(folder / "short", "a");
  EXPECT_EQ(run_anser({"eval", "-m", byte_model(), "--perplexity", folder / "short"}).exit_code, 1);
}

TEST(Eval, LambadaPredictsTheLastWord) {
  const TempDir folder;
  // 20 texts: more than are scored at once.
  std::string lines;
  double nats = 0;
  int correct = 0;
  const auto model = vocabulary_reference();
  for (int i = 0; i < 20; ++i) {
    const std::string context = "some text number " + std::to_string(i * i);
    const std::string word = std::string(size_t(i % 3), 'w') + "d";
    lines += Json{{"text", context + " " + word}}.dump() + "\n";
    std::vector<bool> best;
    const auto all = log_probabilities(model, world_tokens(context + " " + word), &best);
    bool all_best = true;
    for (size_t t = context.size(); t < all.size(); ++t) {
      nats -= all[t];
      all_best = all_best && best[t];
    }
    correct += all_best;
  }
  write_file(folder / "lambada.jsonl", lines);
  const Json result = eval({"-m", vocabulary_model(), "--lambada", folder / "lambada.jsonl"});
  EXPECT_EQ(result["examples"], 20);
  EXPECT_NEAR(std::log(result["perplexity"].get<double>()), nats / 20, 5 * kTolerance);
  EXPECT_EQ(result["accuracy"].get<double>(), correct / 20.0);
  EXPECT_EQ(eval({"-m", vocabulary_model(), "--lambada", folder / "lambada.jsonl", "--limit",
                  "3"})["examples"],
            3);
}

TEST(Eval, BrokenLambadaLinesAreNamed) {
  const TempDir folder;
  for (const std::string line : {"{\"text\": 5}", "nonsense", "[]", "{\"text\": \"word\"}", "{"}) {
    write_file(folder / "x.jsonl", "{\"text\": \"good one\"}\n" + line + "\n");
    const Result result = run_anser({"eval", "-m", byte_model(), "--lambada", folder / "x.jsonl"});
    EXPECT_EQ(result.exit_code, 1) << line;
    EXPECT_NE(result.err.find("x.jsonl:2"), std::string::npos) << result.err;
  }
}

TEST(Eval, KlOfAModelWithItselfAndWithAnother) {
  const TempDir folder;
  write_file(folder / "text", "The quick brown fox");
  const Json same = eval({"-m", byte_model(), "--kl", byte_model(), "--text", folder / "text"});
  EXPECT_EQ(same["tokens"], 19);
  EXPECT_EQ(same["mean_kl"], 0.0);
  EXPECT_EQ(same["same_best"], 1.0);
  EXPECT_EQ(same["mean_abs_logit_difference"], 0.0);

  write_safetensors(folder / "other.safetensors", random_model({.vocab = 256}, 9));
  const Json other =
      eval({"-m", folder / "other.safetensors", "--kl", byte_model(), "--text", folder / "text"});
  // KL(base || model) of the reference.
  const auto base = random_model({.vocab = 256}, 1).reference();
  const auto model = random_model({.vocab = 256}, 9).reference();
  reference::State base_state(base), state(model);
  double sum = 0, most = 0;
  int agree = 0;
  for (const char c : std::string("The quick brown fox")) {
    const auto p = reference::step(base, base_state, uint8_t(c));
    const auto q = reference::step(model, state, uint8_t(c));
    double zp = 0, zq = 0, kl = 0;
    for (int i = 0; i < 256; ++i) zp += std::exp(p[size_t(i)]), zq += std::exp(q[size_t(i)]);
    for (size_t i = 0; i < 256; ++i) {
      kl += std::exp(p[i]) / zp * ((p[i] - std::log(zp)) - (q[i] - std::log(zq)));
    }
    sum += kl;
    most = std::max(most, kl);
    agree += std::max_element(p.begin(), p.end()) - p.begin() ==
             std::max_element(q.begin(), q.end()) - q.begin();
  }
  EXPECT_NEAR(other["mean_kl"].get<double>(), sum / 19, kTolerance);
  EXPECT_NEAR(other["max_kl"].get<double>(), most, kTolerance);
  EXPECT_EQ(other["same_best"].get<double>(), agree / 19.0);

  EXPECT_EQ(
      run_anser({"eval", "-m", byte_model(), "--kl", vocabulary_model(), "--text", folder / "text"})
          .exit_code,
      1);
}

}  // namespace
}  // namespace support
