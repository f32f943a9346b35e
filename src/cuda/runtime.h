// What the CUDA backend needs of the CUDA runtime, and nothing else: devices, memory, one ordered
// queue of work, recorded work. runtime.cpp is the real one; tests/cuda/emulator has another, in
// which a kernel's threads take turns on the CPU, so that all host and kernel code is tested where
// there is no GPU.
//
// Everything acts on the device that select() chose for the calling thread. Failures throw Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace anser::cuda {

struct DeviceInfo {
  int index;
  std::string name;
  int major, minor;  // compute capability
  int processors;    // SMs
  size_t total_bytes, free_bytes;
  size_t shared_bytes;  // that one block may have
};

// All devices of this machine. Empty where there is none; `why` then says what is missing.
std::vector<DeviceInfo> devices(std::string& why);
// Those that the kernels were built for, compute capability 7.5 and newer; `why` as above.
std::vector<DeviceInfo> usable_devices(std::string& why);

void select(int device);

// ANSER_CUDA_PLAIN=1 in the environment: kernels run one after the other and steps are not
// recorded, to find out whether early beginnings or recordings are to blame for something.
bool plain_launches();

// Everything in device memory begins on so many bytes: whole cache lines, and any vector's
// alignment.
constexpr size_t kAlignment = 256;
constexpr size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Device memory. Not initialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);  // throws Error with the numbers where the device has no room
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as(size_t byte_offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(data_) + byte_offset);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Host memory that the device copies from and to without help.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(size_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~PinnedBuffer();
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  void* data_ = nullptr;
};

// A point in a Stream that can be waited for while later work goes on.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  // Returns at once where it was never recorded.
  void wait() const;
  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

// Work that was recorded from a Stream, to be repeated with the same arguments.
class Graph {
 public:
  explicit Graph(void* handle) : handle_(handle) {}
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Graph();
  void* handle() const { return handle_; }

 private:
  void* handle_;
};

// A queue: copies, kernels and graphs run in the order in which they were put in. Host memory that
// is copied from or to must stay as it is until wait() returns.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void upload(void* to, const void* from, size_t bytes);
  void download(void* to, const void* from, size_t bytes);
  void copy(void* to, const void* from, size_t bytes);  // on the device
  void zero(void* to, size_t bytes);
  void wait();
  // The event happens when all that was put in so far is done.
  void record(const Event& event);

  // What follows here waits for what the other queue had been given when the event was recorded. A
  // kernel must not follow at once: it could begin early, which is for its predecessor in this
  // queue only; a copy or zero() in between prevents that. While one of the two queues is recorded
  // the other one becomes part of the recording, and must be joined again before its end.
  void join(const Event& event);

  // Kernels between the two are recorded rather than run.
  void begin_recording();
  Graph end_recording();
  // Instead, after a failure in between.
  void drop_recording() noexcept;
  void launch(const Graph& graph);

  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

}  // namespace anser::cuda
