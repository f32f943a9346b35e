#include "emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "base/half.h"
#include "emulated_device.h"

namespace anser::cuda {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr int kWarpLanes = 32;

// Some threads that wait for each other.
struct Meeting {
  int expected = 0, arrived = 0;
  uint64_t generation = 0;
  float given[2][kWarpLanes];
  emulator::Words words[2][kWarpLanes];
};

// Its stack outlives the kernel that it was made for: a fiber takes a thread of every block.
struct Fiber {
  ucontext_t start;
  jmp_buf at;  // where it goes on: unlike swapcontext(), a jump needs no system call
  bool started = false;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  bool done = false;
  const Meeting* waits_for = nullptr;
  uint64_t seen = 0;
};

struct Block {
  jmp_buf scheduler;
  std::vector<std::unique_ptr<Fiber>> fibers;
  Meeting all;
  std::vector<Meeting> warps;
  const std::function<void()>* thread = nullptr;
  int current = 0, alive = 0;
} block;

std::vector<float> shared;

void open_if_complete(Meeting& meeting) {
  if (meeting.expected == 0 || meeting.arrived < meeting.expected) return;
  meeting.arrived = 0;
  ++meeting.generation;
}

// From a fiber to the scheduler, until that enters the fiber again.
void leave(Fiber& self) {
  if (_setjmp(self.at) == 0) _longjmp(block.scheduler, 1);
}

void enter(Fiber& fiber) {
  if (_setjmp(block.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.at, 1);
  fiber.started = true;
  setcontext(&fiber.start);
}

void meet(Meeting& meeting) {
  Fiber& self = *block.fibers[size_t(block.current)];
  const uint64_t generation = meeting.generation;
  ++meeting.arrived;
  open_if_complete(meeting);
  if (meeting.generation != generation) return;
  self.waits_for = &meeting;
  self.seen = generation;
  leave(self);
}

Meeting& own_warp() {
  return block.warps[size_t(block.current) / kWarpLanes];
}

void run_fiber() {
  for (;;) {
    (*block.thread)();
    Fiber& self = *block.fibers[size_t(block.current)];
    self.done = true;
    // Those who go on do not wait for one who has ended.
    --block.all.expected;
    --own_warp().expected;
    open_if_complete(block.all);
    open_if_complete(own_warp());
    leave(self);
  }
}

void add_fiber() {
  auto fiber = std::make_unique<Fiber>();
  getcontext(&fiber->start);
  fiber->start.uc_stack.ss_sp = fiber->stack.get();
  fiber->start.uc_stack.ss_size = kStackBytes;
  fiber->start.uc_link = nullptr;
  makecontext(&fiber->start, run_fiber, 0);
  block.fibers.push_back(std::move(fiber));
}

uint64_t turns = 1;  // of a random sequence: who goes first

void run_block(int threads) {
  while (int(block.fibers.size()) < threads) add_fiber();
  block.all = {};
  block.all.expected = threads;
  block.warps.assign(size_t((threads + kWarpLanes - 1) / kWarpLanes), {});
  for (int t = 0; t < threads; ++t) {
    ++block.warps[size_t(t / kWarpLanes)].expected;
    Fiber& fiber = *block.fibers[size_t(t)];
    fiber.done = false;
    fiber.waits_for = nullptr;
  }
  for (int left = threads; left > 0;) {
    bool moved = false;
    // Any odd step visits all threads where their number is a power of two; else neighbours.
    const int step = (threads & (threads - 1)) == 0 ? int(turns >> 33 | 1) % threads : 1;
    int t = int((turns >> 17) % uint64_t(threads));
    turns = turns * 6364136223846793005u + 1442695040888963407u;
    for (int i = 0; i < threads; ++i, t = (t + step) % threads) {
      Fiber& fiber = *block.fibers[size_t(t)];
      if (fiber.done) continue;
      if (fiber.waits_for != nullptr && fiber.waits_for->generation == fiber.seen) continue;
      fiber.waits_for = nullptr;
      block.current = t;
      threadIdx = dim3(unsigned(t), 0, 0);
      enter(fiber);
      moved = true;
      if (fiber.done) --left;
    }
    if (!moved) {
      std::fprintf(stderr, "emulator: the threads of a block wait for each other for ever\n");
      std::abort();
    }
  }
}

}  // namespace

namespace emulator {

void run_kernel(dim3 grid, int threads, size_t shared_bytes, const std::function<void()>& thread) {
  block.thread = &thread;
  gridDim = grid;
  blockDim = dim3(unsigned(threads));
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        // Nothing is there before it is written.
        shared.assign(shared_bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
        run_block(threads);
      }
    }
  }
}

const float* exchange(float mine) {
  Meeting& warp = own_warp();
  // Nobody is two meetings ahead of another, so two sets of numbers are enough.
  float* given = warp.given[warp.generation % 2];
  given[block.current % kWarpLanes] = mine;
  meet(warp);
  return given;
}

const Words* exchange(const uint32_t* mine, int count) {
  Meeting& warp = own_warp();
  Words* given = warp.words[warp.generation % 2];
  std::copy_n(mine, count, given[block.current % kWarpLanes]);
  meet(warp);
  return given;
}

float* shared_memory() {
  return shared.data();
}

}  // namespace emulator

void block_sync() {
  meet(block.all);
}

// In the order of the butterfly that the device uses; all lanes get the same bits.
float warp_sum(float x) {
  const float* given = emulator::exchange(x);
  float sums[kWarpLanes];
  std::memcpy(sums, given, sizeof(sums));
  for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
    for (int i = 0; i < distance; ++i) sums[i] += sums[i + distance];
  }
  return sums[0];
}

uint64_t warp_max(uint64_t x) {
  const uint32_t mine[] = {uint32_t(x), uint32_t(x >> 32)};
  const emulator::Words* lanes = emulator::exchange(mine, 2);
  uint64_t most = 0;
  for (int i = 0; i < kWarpLanes; ++i) {
    most = std::max(most, uint64_t(lanes[i][1]) << 32 | lanes[i][0]);
  }
  return most;
}

float quad_sum(float x) {
  const float* quad = emulator::exchange(x) + block.current % kWarpLanes / 4 * 4;
  return (quad[0] + quad[1]) + (quad[2] + quad[3]);
}

uint32_t quad_max(uint32_t x) {
  const emulator::Words* quad = emulator::exchange(&x, 1) + block.current % kWarpLanes / 4 * 4;
  return std::max({quad[0][0], quad[1][0], quad[2][0], quad[3][0]});
}

float to_tf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  // To nearest, halves away from zero, as cvt.rna does.
  bits = (bits + 0x1000) & ~uint32_t{0x1fff};
  std::memcpy(&x, &bits, sizeof(bits));
  return x;
}

namespace {

// d += a b over the lanes' registers; `number(word, i)` is the i-th of a register's kEach numbers.
template <int kEach, class Sum, class Number>
void tile_product(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Number number) {
  const uint32_t mine[] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const emulator::Words* lanes = emulator::exchange(mine, 6);
  const int g = block.current % kWarpLanes / 4, t = block.current % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    Sum sum = d[i];
    for (int half = 0; half < 2; ++half) {
      for (int quarter = 0; quarter < 4; ++quarter) {
        const uint32_t of_a = lanes[row % 8 * 4 + quarter][row / 8 + 2 * half];
        const uint32_t of_b = lanes[column * 4 + quarter][4 + half];
        for (int e = 0; e < kEach; ++e) sum += number(of_a, e) * number(of_b, e);
      }
    }
    d[i] = sum;
  }
}

}  // namespace

template <>
void mma<Format::f16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  tile_product<2>(d, a, b, [](uint32_t w, int i) { return f16_to_f32(uint16_t(w >> 16 * i)); });
}
template <>
void mma<Format::bf16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (emulator::capability < 80) std::abort();  // there is no such instruction
  tile_product<2>(d, a, b, [](uint32_t w, int i) { return bf16_to_f32(uint16_t(w >> 16 * i)); });
}
template <>
void mma<Format::f32>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (emulator::capability < 80) std::abort();
  tile_product<1>(d, a, b, [](uint32_t w, int) {
    float x;
    std::memcpy(&x, &w, sizeof(x));
    return to_tf32(x);
  });
}
void mma_bytes_onto(int c, int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  std::fill_n(d, 4, c);
  tile_product<4>(d, a, b, [](uint32_t w, int i) { return int(int8_t(w >> 8 * i)); });
}

uint32_t ballot(bool mine) {
  const float* given = emulator::exchange(mine ? 1.0f : 0.0f);
  uint32_t bits = 0;
  for (int i = 0; i < kWarpLanes; ++i) bits |= uint32_t(given[i] != 0) << i;
  return bits;
}

uint32_t pick_bytes(uint32_t x, uint32_t y, uint32_t which) {
  const uint64_t both = uint64_t{y} << 32 | x;
  uint32_t picked = 0;
  for (int i = 0; i < 4; ++i) {
    picked |= uint32_t(both >> 8 * (which >> 4 * i & 7) & 255) << 8 * i;
  }
  return picked;
}
uint32_t fma_pairs(uint32_t x, uint32_t y, uint32_t z) {
  uint32_t pair = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto number = [shift](uint32_t word) {
      return double(f16_to_f32(uint16_t(word >> shift)));
    };
    // Exact in double precision, but for a second rounding by way of fp32, once in some thousands.
    pair |= uint32_t(f32_to_f16(float(number(x) * number(y) + number(z)))) << shift;
  }
  return pair;
}
uint32_t subtract_pairs(uint32_t x, uint32_t y) {
  return fma_pairs(y, 0xbc00bc00, x);  // y times -1
}

float from_f16(uint16_t bits) {
  return f16_to_f32(bits);
}
float from_bf16(uint16_t bits) {
  return bf16_to_f32(bits);
}
uint16_t to_f16(float x) {
  return f32_to_f16(x);
}
uint16_t to_bf16(float x) {
  return f32_to_bf16(x);
}

}  // namespace anser::cuda
