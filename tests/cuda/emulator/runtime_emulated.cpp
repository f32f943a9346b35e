// cuda/runtime.h and cuda/gemm.h on the host: one device with its own rules about memory.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include "anser/error.h"
#include "base/half.h"
#include "cuda/gemm.h"
#include "cuda/runtime.h"
#include "emulated_device.h"
#include "emulator.h"

namespace anser::cuda {

namespace emulator {

int capability = 90;
constexpr size_t kSharedBytes = 64 * 1024;
size_t memory_limit = size_t{1} << 30;
size_t memory_used = 0;
size_t downloaded = 0;

namespace {
using Recording = std::vector<std::function<void()>>;
Recording* recording = nullptr;

// What a Stream has been given and nobody has waited for yet: as late as a device may be, so that
// host memory that is changed too early, and results that are read too early, show.
struct Queue {
  std::deque<std::function<void()>> work;
  uint64_t given = 0, done = 0;

  void run_until(uint64_t position) {
    while (done < position) {
      const std::function<void()> next = std::move(work.front());
      work.pop_front();
      ++done;
      next();
    }
  }
};

struct Point {
  Queue* queue = nullptr;
  uint64_t position = 0;
};
}  // namespace

void queue(void* stream, std::function<void()> work) {
  if (recording != nullptr) {
    recording->push_back(std::move(work));
  } else if (stream == nullptr) {
    work();
  } else {
    auto* queue = static_cast<Queue*>(stream);
    queue->work.push_back(std::move(work));
    ++queue->given;
  }
}

void check_launch(dim3 grid, int threads, size_t shared) {
  const bool fits = grid.x >= 1 && grid.x < 1u << 31 && grid.y >= 1 && grid.y <= 65535 &&
                    grid.z >= 1 && grid.z <= 65535 && threads >= 1 && threads <= 1024 &&
                    shared + kOwnSharedBytes <= kSharedBytes;
  if (fits) return;
  throw Error(fmt::format("the GPU refused a kernel: grid {} x {} x {}, {} threads, {} bytes",
                          grid.x, grid.y, grid.z, threads, shared));
}

}  // namespace emulator

std::vector<DeviceInfo> devices(std::string&) {
  return {{.index = 0,
           .name = "emulator",
           .major = emulator::capability / 10,
           .minor = emulator::capability % 10,
           .processors = 1,
           .total_bytes = emulator::memory_limit,
           .free_bytes = emulator::memory_limit - emulator::memory_used,
           .shared_bytes = emulator::kSharedBytes}};
}

void select(int) {}

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (emulator::memory_used + bytes > emulator::memory_limit) {
    throw Error(fmt::format("the GPU has not enough memory: {} bytes more are needed", bytes));
  }
  emulator::memory_used += bytes;
  data_ = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(data_, 0xff, bytes);  // NaNs, in every float type
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  emulator::memory_used -= bytes_;
  std::free(data_);
}

PinnedBuffer::PinnedBuffer(size_t bytes) : data_(std::malloc(bytes)) {}
PinnedBuffer::~PinnedBuffer() {
  std::free(data_);
}

Graph::~Graph() {
  delete static_cast<emulator::Recording*>(handle_);
}

Stream::Stream() : handle_(new emulator::Queue) {}
Stream::~Stream() {
  delete static_cast<emulator::Queue*>(handle_);
}

void Stream::upload(void* to, const void* from, size_t bytes) {
  copy(to, from, bytes);
}
void Stream::download(void* to, const void* from, size_t bytes) {
  emulator::downloaded += bytes;
  copy(to, from, bytes);
}
void Stream::copy(void* to, const void* from, size_t bytes) {
  emulator::queue(handle_, [=] { std::memcpy(to, from, bytes); });
}
void Stream::zero(void* to, size_t bytes) {
  emulator::queue(handle_, [=] { std::memset(to, 0, bytes); });
}
void Stream::wait() {
  auto* queue = static_cast<emulator::Queue*>(handle_);
  queue->run_until(queue->given);
}
void Stream::record(const Event& event) {
  auto* queue = static_cast<emulator::Queue*>(handle_);
  *static_cast<emulator::Point*>(event.handle()) = {queue, queue->given};
}

void Stream::join(const Event& event) {
  const emulator::Point point = *static_cast<emulator::Point*>(event.handle());
  // What is recorded is in the order in which it was given, which every dependency agrees with.
  if (emulator::recording != nullptr || point.queue == nullptr) return;
  emulator::queue(handle_, [point] { point.queue->run_until(point.position); });
}

Event::Event() : handle_(new emulator::Point) {}
Event::~Event() {
  delete static_cast<emulator::Point*>(handle_);
}
void Event::wait() const {
  const auto* point = static_cast<const emulator::Point*>(handle_);
  if (point->queue != nullptr) point->queue->run_until(point->position);
}

void Stream::begin_recording() {
  emulator::recording = new emulator::Recording;
}

Graph Stream::end_recording() {
  return Graph(std::exchange(emulator::recording, nullptr));
}

void Stream::drop_recording() noexcept {
  delete std::exchange(emulator::recording, nullptr);
}

void Stream::launch(const Graph& graph) {
  for (const auto& work : *static_cast<emulator::Recording*>(graph.handle())) {
    emulator::queue(handle_, work);
  }
}

struct Gemm::Library {};
bool Gemm::available() {
  return true;
}
Gemm::Gemm() = default;
Gemm::~Gemm() = default;

void Gemm::multiply(Stream& stream, const Product& p) {
  const auto number = [type = p.type](const void* from, int64_t at) {
    const uint16_t bits = static_cast<const uint16_t*>(from)[at];
    return type == Format::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  };
  emulator::queue(stream.handle(), [=] {
    for (int r = 0; r < p.rows; ++r) {
      for (int o = 0; o < p.outputs; ++o) {
        float sum = 0;
        for (int i = 0; i < p.inputs; ++i) {
          const int64_t at = p.transposed ? int64_t(i) * p.pitch + o : int64_t(o) * p.pitch + i;
          sum += number(p.W, at) * number(p.x, int64_t(r) * p.x_pitch + i);
        }
        float& y = p.y[int64_t(r) * p.outputs + o];
        y = p.alpha * sum + (p.beta == 0 ? 0 : p.beta * y);
      }
    }
  });
}

}  // namespace anser::cuda
