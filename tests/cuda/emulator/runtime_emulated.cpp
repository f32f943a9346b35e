// cuda/runtime.h and cuda/gemm.h on the host: one device with its own rules about memory.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "anser/error.h"
#include "base/half.h"
#include "cuda/gemm.h"
#include "cuda/runtime.h"
#include "emulated_device.h"
#include "emulator.h"

namespace anser::cuda {

namespace emulator {

size_t memory_limit = size_t{1} << 30;
size_t memory_used = 0;

namespace {
using Recording = std::vector<std::function<void()>>;
Recording* recording = nullptr;
}  // namespace

void queue(std::function<void()> work) {
  if (recording != nullptr) {
    recording->push_back(std::move(work));
  } else {
    work();
  }
}

}  // namespace emulator

std::vector<DeviceInfo> devices(std::string&) {
  return {{.index = 0,
           .name = "emulator",
           .major = 9,
           .minor = 0,
           .processors = 1,
           .total_bytes = emulator::memory_limit,
           .free_bytes = emulator::memory_limit - emulator::memory_used,
           .shared_bytes = 64 * 1024}};
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

Stream::Stream() = default;
Stream::~Stream() = default;

void Stream::upload(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void Stream::download(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void Stream::copy(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void Stream::zero(void* to, size_t bytes) {
  std::memset(to, 0, bytes);
}
void Stream::wait() {}

void Stream::begin_recording() {
  emulator::recording = new emulator::Recording;
}

Graph Stream::end_recording() {
  return Graph(std::exchange(emulator::recording, nullptr));
}

void Stream::launch(const Graph& graph) {
  for (const auto& work : *static_cast<emulator::Recording*>(graph.handle())) work();
}

struct Gemm::Library {};
bool Gemm::available() {
  return true;
}
Gemm::Gemm() = default;
Gemm::~Gemm() = default;

void Gemm::multiply(Stream&, const Product& p) {
  const auto number = [type = p.type](const void* from, int64_t at) {
    const uint16_t bits = static_cast<const uint16_t*>(from)[at];
    return type == Format::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  };
  emulator::queue([=] {
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
