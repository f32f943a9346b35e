#include "cuda/runtime.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "anser/error.h"

namespace anser::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw Error(fmt::format("the GPU failed while {}: {}", what, cudaGetErrorString(error)));
}

cudaStream_t stream_of(void* handle) {
  return static_cast<cudaStream_t>(handle);
}

int attribute(cudaDeviceAttr what, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, what, device), "asked for its properties");
  return value;
}

}  // namespace

// For queue_kernel() of kernels/device.h.
[[noreturn]] void kernel_failed(const char* why);
void kernel_failed(const char* why) {
  throw Error(fmt::format("the GPU refused a kernel: {}", why));
}

std::vector<DeviceInfo> devices(std::string& why) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();  // not the next call's failure
    why =
        error == cudaErrorInsufficientDriver
            ? "the NVIDIA driver is missing or older than this program's CUDA; install a newer one"
        : error == cudaErrorNoDevice || error == cudaSuccess
            ? "no NVIDIA GPU was found"
            : std::string("CUDA could not start: ") + cudaGetErrorString(error);
    return {};
  }
  int current = 0;
  cudaGetDevice(&current);
  std::vector<DeviceInfo> found;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties = {};
    if (cudaSetDevice(i) != cudaSuccess || cudaGetDeviceProperties(&properties, i) != cudaSuccess) {
      continue;
    }
    DeviceInfo info = {};
    info.index = i;
    info.name = properties.name;
    info.major = properties.major;
    info.minor = properties.minor;
    info.processors = properties.multiProcessorCount;
    check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "asked for its memory");
    info.shared_bytes = size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, i));
    found.push_back(info);
  }
  cudaSetDevice(current);
  return found;
}

void select(int device) {
  check(cudaSetDevice(device), "being selected");
}

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  const cudaError_t error = cudaMalloc(&data_, bytes > 0 ? bytes : 1);
  if (error == cudaSuccess) return;
  cudaGetLastError();
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw Error(
      fmt::format("the GPU has not enough memory: {:.2f} GB more are needed, {:.2f} of {:.2f}"
                  " GB are free; use a smaller or quantised model, or --device cpu",
                  double(bytes) * 1e-9, double(free) * 1e-9, double(total) * 1e-9));
}

Buffer::~Buffer() {
  if (data_ != nullptr) cudaFree(data_);
}

PinnedBuffer::PinnedBuffer(size_t bytes) {
  check(cudaMallocHost(&data_, bytes > 0 ? bytes : 1), "reserving host memory");
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

Event::Event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  handle_ = event;
}

Event::~Event() {
  cudaEventDestroy(static_cast<cudaEvent_t>(handle_));
}

void Event::wait() const {
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(handle_)), "computing");
}

Graph::~Graph() {
  if (handle_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle_));
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a queue");
  handle_ = stream;
}

Stream::~Stream() {
  cudaStreamDestroy(stream_of(handle_));
}

void Stream::upload(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(handle_)), "copying");
}

void Stream::download(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_of(handle_)), "copying");
}

void Stream::copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(handle_)), "copying");
}

void Stream::zero(void* to, size_t bytes) {
  check(cudaMemsetAsync(to, 0, bytes, stream_of(handle_)), "clearing memory");
}

void Stream::wait() {
  check(cudaStreamSynchronize(stream_of(handle_)), "computing");
}

void Stream::record(const Event& event) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(event.handle()), stream_of(handle_)),
        "recording an event");
}

void Stream::join(const Event& event) {
  check(cudaStreamWaitEvent(stream_of(handle_), static_cast<cudaEvent_t>(event.handle()), 0),
        "joining two queues");
}

void Stream::begin_recording() {
  // Relaxed: this thread may do anything meanwhile that is not put into this queue, as libraries
  // and the loading of kernels do; and a recording that failed can be dropped by any thread.
  check(cudaStreamBeginCapture(stream_of(handle_), cudaStreamCaptureModeRelaxed), "recording");
}

Graph Stream::end_recording() {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_of(handle_), &graph), "recording");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "preparing recorded work");
  return Graph(executable);
}

void Stream::drop_recording() noexcept {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_of(handle_), &graph) == cudaSuccess) cudaGraphDestroy(graph);
  cudaGetLastError();  // the failure is known
}

void Stream::launch(const Graph& graph) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle()), stream_of(handle_)),
        "starting recorded work");
}

}  // namespace anser::cuda
