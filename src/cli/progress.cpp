#include "cli/progress.h"

#include <fmt/format.h>

#include <chrono>
#include <system_error>

#include "cli/console.h"

namespace anser {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

Progress::Progress(std::string what) : what_(std::move(what)) {
  try {
    thread_ = std::jthread([this](std::stop_token stop) { show(stop); });
  } catch (const std::system_error&) {
    // What it would have told of can do without.
  }
}

Progress::~Progress() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Progress::update(std::string detail) {
  std::lock_guard lock(mutex_);
  detail_ = std::move(detail);
}

void Progress::show(std::stop_token stop) {
  const bool terminal = stderr_is_terminal();
  const auto begin = Clock::now();
  bool shown = false;
  std::unique_lock lock(mutex_);
  auto pause = std::chrono::milliseconds(1000);
  while (!wake_.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); }) &&
         !stop.stop_requested()) {
    const auto seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const std::string line = detail_.empty() ? fmt::format("{}, {:.0f} s", what_, seconds)
                                             : fmt::format("{}: {}", what_, detail_);
    // \r goes to the start of the line, ESC [K wipes what stood behind the new end.
    write_err(terminal ? "\r" + line + "\x1b[K" : line + "\n");
    shown = true;
    pause = std::chrono::milliseconds(terminal ? 200 : 30000);
  }
  if (shown && terminal) write_err("\r\x1b[K");
}

}  // namespace anser
