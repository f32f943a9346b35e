// Exit codes and who says what where: 0 done, 1 explained, 2 wrong usage; stdout is data only.
#include <gtest/gtest.h>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Arguments = std::vector<std::string>;

class WrongUsage : public testing::TestWithParam<Arguments> {};

TEST_P(WrongUsage, ExitsWith2AndSaysWhyOnStderr) {
  const Result result = run_anser(GetParam());
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
  EXPECT_NE(result.err.find("--help"), std::string::npos) << result.err;
}

INSTANTIATE_TEST_SUITE_P(
    Cli, WrongUsage,
    testing::Values(
        Arguments{}, Arguments{"nonsense"}, Arguments{"run", "--nonsense"},
        Arguments{"run"},  // stdin is empty
        Arguments{"run", "-p", "x", "-n", "many"}, Arguments{"run", "-p", "x", "-n", "-1"},
        Arguments{"run", "-p", "x", "--template", "poem"},
        Arguments{"run", "-p", "x", "--preset", "wild"},
        Arguments{"run", "-p", "x", "--temperature", "-1"},
        Arguments{"run", "-p", "x", "--top-p", "1.5"}, Arguments{"run", "-p", "x", "--suffix", "y"},
        Arguments{"run", "-p", "x", "--system", "y"},
        Arguments{"run", "-p", "x", "--device", "abacus"},
        Arguments{"run", "-p", "x", "--threads", "-1"}, Arguments{"chat", "--template", "raw"},
        Arguments{"logits", "-p", "x"}, Arguments{"logits", "-o", "x.npy"},
        Arguments{"logits", "-p", "x", "--tokens", "1", "-o", "x.npy"},
        Arguments{"logits", "--tokens", "1,two", "-o", "x.npy"}, Arguments{"eval"},
        Arguments{"eval", "--kl", "x"}, Arguments{"eval", "--text", "x"},
        Arguments{"eval", "--perplexity", "x", "--lambada", "y"}, Arguments{"bench", "-b", "0"},
        Arguments{"bench", "-n", "0"}, Arguments{"bench", "-p", "12x"},
        Arguments{"bench", "-p", "0"}, Arguments{"bench", "--shape", "13B"},
        Arguments{"bench", "--zeros", "0.5"}, Arguments{"bench", "--shape", "0.1B", "-m", "x"}));

class Failure : public testing::TestWithParam<Arguments> {};

TEST_P(Failure, ExitsWith1AndOneSentence) {
  const Result result = run_anser(GetParam());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
  EXPECT_EQ(result.err.find("internal"), std::string::npos) << result.err;
}

INSTANTIATE_TEST_SUITE_P(
    Cli, Failure,
    testing::Values(Arguments{"run", "-m", "/nonexistent/model.pth", "-p", "x"},
                    Arguments{"run", "-m", "/", "-p", "x"},  // a folder without a model
                    Arguments{"info", "-m", "/dev/null"},
                    Arguments{"run", "-m", ANSER_BINARY, "-p", "x"},
                    Arguments{"run", "-p", "x", "--load-state", "/nonexistent/state"},
                    Arguments{"run", "-p", "x", "--stop", ""},
                    Arguments{"run", "-p", "x", "--device", "cuda"},
                    Arguments{"run", "-p", "x", "--device", "cpu", "--state16"},
                    Arguments{"logits", "-p", "x", "-o", "/nonexistent/x.npy"},
                    Arguments{"logits", "--tokens", "99999999", "-o", "/dev/null"},
                    Arguments{"logits", "--tokens", "-1", "-o", "/dev/null"},
                    Arguments{"eval", "--perplexity", "/nonexistent/text"},
                    Arguments{"eval", "--lambada", "/dev/null"},
                    Arguments{"eval", "--kl", "/nonexistent/model", "--text", "/dev/null"},
                    Arguments{"tokenize", "--vocab", "/nonexistent/vocabulary", "x"}));

TEST(Usage, HelpIsDataAndASuccess) {
  for (const Arguments& arguments :
       {Arguments{"--help"}, Arguments{"run", "--help"}, Arguments{"chat", "--help"},
        Arguments{"logits", "--help"}, Arguments{"eval", "--help"}, Arguments{"bench", "--help"},
        Arguments{"info", "--help"}, Arguments{"tokenize", "--help"}, Arguments{"state", "--help"},
        Arguments{"state", "save", "--help"}, Arguments{"--version"}}) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out, "");
    EXPECT_EQ(result.err, "");
  }
}

TEST(Usage, AFullDiskIsExplained) {
  for (const Arguments& arguments : {Arguments{"run", "-p", "x", "-n", "50"}, Arguments{"info"},
                                     Arguments{"tokenize", "hello"}, Arguments{"--help"}}) {
    const Result result = run_anser_into("/dev/full", arguments);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.err.find("No space left"), std::string::npos) << result.err;
  }
  const Result file = run_anser({"logits", "-p", "x", "-o", "/dev/full"});
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_NE(file.err.find("No space left"), std::string::npos) << file.err;
}

TEST(Usage, AStateThatCannotBeSavedIsExplained) {
  const Result result =
      run_anser({"run", "-p", "x", "-n", "1", "--save-state", "/nonexistent/state"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
}

TEST(Usage, AnIsaThatDoesNotExistIsExplained) {
  setenv("ANSER_ISA", "abacus", 1);
  const Result result = run_anser({"run", "-p", "x", "-n", "1"});
  unsetenv("ANSER_ISA");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("abacus"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace support
