// A line on stderr about work that takes long. Nothing is shown in the first second. On a terminal
// the line is updated in place and wiped at the end; in a log it appears once, then twice a minute.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace anser {

class Progress {
 public:
  explicit Progress(std::string what);  // "loading model.gguf"
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::string detail);  // "512 of 4096 tokens"

 private:
  void show(std::stop_token stop);

  const std::string what_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::string detail_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace anser
