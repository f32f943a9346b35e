// What the system tells the program: limits, signals, streams that are not ready.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "cli/models.h"
#include "cli/program.h"
#include "support/sanitized.h"

namespace support {
namespace {

int files_in(const std::string& folder) {
  return int(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(Limits, AFileThatMayNotBeSoLargeIsExplained) {
  const TempDir dir;
  const Result result = run_shell("ulimit -f 10; \"$0\" run -p x -n 2 --save-state " + (dir / "s"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("ulimit -f"), std::string::npos) << result.err;
  EXPECT_EQ(files_in(dir.path()), 0);
}

// Under a sanitizer there is never so little address space.
#if !ANSER_SANITIZED
TEST(Limits, ThreadsThatCannotBeStartedAreExplained) {
  for (const std::string command : {"run -p x -n 2", "bench -p none -b 1 -n 1"}) {
    const Result result =
        run_shell("ulimit -v 500000; timeout 60 \"$0\" " + command + " --threads 300");
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_NE(result.err.find("cannot be started"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("--threads"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("ulimit -v"), std::string::npos) << result.err;
  }
}

TEST(Limits, TooLittleMemoryIsExplained) {
  int explained = 0;
  for (int megabytes = 30; megabytes <= 130; megabytes += 10) {
    const Result result = run_shell("ulimit -v " + std::to_string(megabytes * 1000) +
                                    "; timeout 60 \"$0\" run -p 'hello' -n 3 --threads 2");
    if (result.exit_code == 127) continue;  // the system could not even load it
    ASSERT_TRUE(result.exit_code == 0 || result.exit_code == 1) << megabytes << result.err;
    if (result.exit_code == 0) continue;
    ++explained;
    EXPECT_NE(result.err.find("anser: "), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find("internal error"), std::string::npos) << result.err;
  }
  EXPECT_GT(explained, 0);
}
#endif

// Runs a command in the background of a shell until `begun` holds, sends the signal, and prints
// what it ended with.
std::string signalled(const std::string& command, const std::string& begun,
                      const std::string& signal) {
  return "set -m; " + command + " & for i in {1..600}; do if " + begun +
         "; then break; fi; sleep 0.05; done; " + signal + "; wait $!; echo $?";
}

TEST(Signals, LeaveNoHalfWrittenFile) {
  const TempDir dir;
  write_file(dir / "text", std::string(60000, 'a'));
  for (const auto& [signal, code] :
       {std::pair("TERM", "143"), std::pair("HUP", "129"), std::pair("INT", "130")}) {
    const Result result =
        run_shell(signalled("\"$0\" logits --threads 1 --all -m " + byte_model() + " -p - -o " +
                                (dir / "x.npy") + " < " + (dir / "text"),
                            "ls " + (dir / "anser-") + "*.new > /dev/null 2>&1",
                            std::string("kill -") + signal + " $!"));
    EXPECT_EQ(result.out, code + std::string("\n")) << result.err;
    EXPECT_EQ(files_in(dir.path()), 1) << signal;
  }
}

// A text ends where it is, its state is saved, and the program by the signal.
TEST(Signals, EndATextInGoodOrder) {
  for (const auto& [signal, code] : {std::pair("TERM", "143"), std::pair("HUP", "129")}) {
    const TempDir dir;
    const Result result = run_shell(
        signalled("\"$0\" run -p x -n 100000000 -m " + byte_model() + " --save-state " +
                      (dir / "s") + " > " + (dir / "out"),
                  "[ -s " + (dir / "out") + " ]", std::string("kill -") + signal + " $!"));
    EXPECT_EQ(result.out, code + std::string("\n")) << result.err;
    EXPECT_TRUE(std::filesystem::exists(dir / "s"));
    const Result next =
        run_anser({"run", "-m", byte_model(), "--load-state", dir / "s", "-p", "", "-n", "1"});
    EXPECT_EQ(next.exit_code, 0) << next.err;
  }
}

TEST(Streams, ThatAreNotReadyAreWaitedFor) {
  const std::string script =
      "import os,sys,subprocess,time\n"
      "words, wait = sys.argv[2:-1], float(sys.argv[-1])\n"
      "r, w = os.pipe(); os.set_blocking(r, False)\n"
      "R, W = os.pipe(); os.set_blocking(W, False)\n"
      "p = subprocess.Popen([sys.argv[1]] + words, stdin=r, stdout=W, stderr=subprocess.PIPE)\n"
      "os.close(r); os.close(W)\n"
      "time.sleep(wait)\n"
      "import threading\n"
      "def feed():\n"
      "  os.write(w, b'hello\\nyou'); time.sleep(wait)\n"
      "  for i in range(3000): os.write(w, b' there, my dear old friend')\n"
      "  os.close(w)\n"
      "threading.Thread(target=feed).start()\n"
      "time.sleep(2 * wait)\n"
      "out = b''\n"
      "while piece := os.read(R, 65536): out += piece\n"
      "print(len(out), p.wait())\n";
  const TempDir dir;
  write_file(dir / "s.py", script);
  const Result tokens = run_shell("python3 " + (dir / "s.py") + " \"$0\" tokenize - 0.3");
  EXPECT_TRUE(tokens.out.ends_with(" 0\n")) << tokens.out << tokens.err;
  EXPECT_GT(std::stoi(tokens.out), 70000) << tokens.out;  // more than a pipe takes
  const Result chat = run_shell("python3 " + (dir / "s.py") + " \"$0\" chat -n 3 0.3");
  EXPECT_TRUE(chat.out.ends_with(" 0\n")) << chat.out << chat.err;
  EXPECT_GT(std::stoi(chat.out), 3) << chat.out;
}

TEST(Files, AStateIsItsOwnersAlone) {
  const TempDir dir;
  write_file(dir / "s", "old");
  ASSERT_EQ(chmod((dir / "s").c_str(), 0644), 0);
  EXPECT_EQ(run_anser({"run", "-p", "x", "-n", "1", "--save-state", dir / "s"}).exit_code, 0);
  struct stat status {};
  ASSERT_EQ(stat((dir / "s").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(Files, StandardOutputMayBeAFile) {
  const TempDir dir;
  const Result result =
      run_shell("cd " + dir.path() + "; echo before > f; \"$0\" logits -p x -o /dev/stdout >> f");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(read_file(dir / "f").starts_with("before\n\x93NUMPY"));
}

// The mapped embedding is read for every token.
TEST(MappedModel, ThatIsCutOffIsNamed) {
  const TempDir dir;
  const std::string model = dir / "model.safetensors";
  std::filesystem::copy_file(byte_model(), model);
  const Result result =
      run_shell(signalled("\"$0\" run -p x -n 100000000 -m " + model + " > " + (dir / "out"),
                          "[ -s " + (dir / "out") + " ]", ": > " + model));
  EXPECT_EQ(result.out, "1\n") << result.err;
  EXPECT_NE(result.err.find(model), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("cut off"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace support
