#include "cli/machine_speed.h"

#include "anser/engine.h"
#include "engine/cuda_engine.h"

#include <sys/mman.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "base/start_threads.h"
#include "cli/numbers.h"
#include "cpu/dispatch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace anser {
namespace {

using Clock = std::chrono::steady_clock;

// Runs work(thread) on all threads at the same time, `runs` times, and gives the median of the
// seconds from the common start to the last end.
double median_seconds(int threads, int runs, const std::function<void(int)>& work) {
  std::barrier barrier(threads);
  std::vector<double> seconds(size_t(runs), 0.0);
  // Nobody may wait for those who cannot be started.
  enum : int { wait, go, end };
  std::atomic<int> signal = wait;
  const auto tell = [&](int what) {
    signal = what;
    signal.notify_all();
  };
  const auto loop = [&](int thread) {
    signal.wait(wait);
    if (signal == end) return;
    for (double& taken : seconds) {
      barrier.arrive_and_wait();
      const auto begin = Clock::now();
      work(thread);
      barrier.arrive_and_wait();
      if (thread == 0) taken = std::chrono::duration<double>(Clock::now() - begin).count();
    }
  };
  std::vector<std::jthread> others;
  start_threads(
      others, threads - 1, [&](int i) { loop(i + 1); }, [&] { tell(end); });
  tell(go);
  loop(0);
  others.clear();
  return median(seconds.data(), runs);
}

// --- memory ---

// Anonymous memory in huge pages where the system gives them: with 4 kB pages the walk of the page
// tables would be measured too.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes) {
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    madvise(data_, bytes, MADV_HUGEPAGE);
  }
  ~Buffer() { munmap(data_, bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint64_t* words() const { return static_cast<uint64_t*>(data_); }

 private:
  void* data_;
  size_t bytes_;
};

// Streams a thread reads side by side: one stream does not keep the prefetchers of a core busy.
constexpr int kStreams = 8;

// Xor of all words: cheap enough that memory is the limit, and nothing the compiler can leave out.
uint64_t read_streams(const uint64_t* words, size_t n) {
  using Words = uint64_t __attribute__((vector_size(32)));
  constexpr size_t kLane = sizeof(Words) / sizeof(uint64_t);
  const size_t length = n / kStreams / kLane * kLane;
  Words sum[kStreams] = {};
  for (size_t i = 0; i < length; i += kLane) {
    for (int s = 0; s < kStreams; ++s) {
      sum[s] ^= *reinterpret_cast<const Words*>(words + size_t(s) * length + i);
    }
  }
  Words all = sum[0];
  for (int s = 1; s < kStreams; ++s) all ^= sum[s];
  return all[0] ^ all[1] ^ all[2] ^ all[3];
}

// --- arithmetic ---

// Chains of multiply-adds that do not wait for each other: latency 4 x 2 units needs 8 or more.
constexpr int kChains = 16;
constexpr float kFactor = 0.999f;   // with these two the values stay near 1: neither denormals nor
constexpr float kSummand = 0.001f;  // infinities, which some machines compute more slowly

#if defined(__x86_64__)
__attribute__((target("avx512f"))) float fma_avx512(int64_t rounds) {
  __m512 x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = _mm512_set1_ps(1.0f + float(c));
  const __m512 factor = _mm512_set1_ps(kFactor), summand = _mm512_set1_ps(kSummand);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) x[c] = _mm512_fmadd_ps(x[c], factor, summand);
  }
  for (int c = 1; c < kChains; ++c) x[0] = _mm512_add_ps(x[0], x[c]);
  return _mm512_cvtss_f32(x[0]);
}

// The codes change from round to round, or the compiler would add a constant product instead.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) float int8_vnni(int64_t rounds) {
  __m512i x[kChains], codes = _mm512_set1_epi8(3);
  for (int c = 0; c < kChains; ++c) x[c] = _mm512_set1_epi32(c);
  const __m512i factors = _mm512_set1_epi8(2);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) x[c] = _mm512_dpbusd_epi32(x[c], codes, factors);
    asm volatile("" : "+v"(codes));
  }
  for (int c = 1; c < kChains; ++c) x[0] = _mm512_add_epi32(x[0], x[c]);
  int32_t sums[16];
  _mm512_storeu_si512(sums, x[0]);
  return float(sums[0]);
}

// Products of codes and factors, neighbours added, summed in lanes of `sum` bits. Both constraints
// are needed: without the one on the sum, compilers form all products, keep the sums in memory and
// add up in the end; without the one on the codes they add a constant product. Not on x[c] itself:
// the array would be one in memory.
#define ANSER_INT_LOOP(name, architecture, mm, bits, chains, code, sum, multiply, constraint) \
  __attribute__((target(architecture))) float name(int64_t rounds) {                          \
    __m##bits##i x[chains], codes = mm##_set1_epi##code(3);                                   \
    const __m##bits##i factors = mm##_set1_epi##code(2);                                      \
    for (int c = 0; c < chains; ++c) x[c] = mm##_set1_epi##sum(int16_t(c));                   \
    for (int64_t i = 0; i < rounds; ++i) {                                                    \
      _Pragma("GCC unroll 16") for (int c = 0; c < chains; ++c) {                             \
        __m##bits##i added = mm##_add_epi##sum(x[c], mm##_##multiply(codes, factors));        \
        asm volatile("" : constraint(added), constraint(codes));                              \
        x[c] = added;                                                                         \
      }                                                                                       \
    }                                                                                         \
    for (int c = 1; c < chains; ++c) x[0] = mm##_add_epi##sum(x[0], x[c]);                    \
    int32_t first;                                                                            \
    std::memcpy(&first, x, sizeof(first));                                                    \
    return float(first);                                                                      \
  }
// On AVX2 12 chains: with 16 and the two constants the 16 registers would not do.
ANSER_INT_LOOP(int16_avx512, "avx512f,avx512bw", _mm512, 512, 16, 16, 32, madd_epi16, "+v")
ANSER_INT_LOOP(int16_avx2, "avx2", _mm256, 256, 12, 16, 32, madd_epi16, "+x")
// What codes of 4 bits allow: eight products of a code and an activation fit a sum of 16 bits, so
// that an addition stands for 32 multiply-adds instead of 16.
ANSER_INT_LOOP(int4_avx2, "avx2", _mm256, 256, 12, 8, 16, maddubs_epi16, "+x")
#undef ANSER_INT_LOOP

__attribute__((target("avx2,fma"))) float fma_avx2(int64_t rounds) {
  constexpr int kAvx2Chains = 12;
  __m256 x[kAvx2Chains];
  for (int c = 0; c < kAvx2Chains; ++c) x[c] = _mm256_set1_ps(1.0f + float(c));
  const __m256 factor = _mm256_set1_ps(kFactor), summand = _mm256_set1_ps(kSummand);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kAvx2Chains; ++c) x[c] = _mm256_fmadd_ps(x[c], factor, summand);
  }
  for (int c = 1; c < kAvx2Chains; ++c) x[0] = _mm256_add_ps(x[0], x[c]);
  return _mm256_cvtss_f32(x[0]);
}
#elif defined(__aarch64__)
float fma_neon(int64_t rounds) {
  float32x4_t x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = vdupq_n_f32(1.0f + float(c));
  const float32x4_t factor = vdupq_n_f32(kFactor), summand = vdupq_n_f32(kSummand);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) x[c] = vfmaq_f32(summand, x[c], factor);
  }
  for (int c = 1; c < kChains; ++c) x[0] = vaddq_f32(x[0], x[c]);
  return vgetq_lane_f32(x[0], 0);
}

// One function for each kind of product: a target is a function's, and templates have none.
#define ANSER_INT8_LOOP(name, architecture, product)                    \
  __attribute__((target(architecture))) float name(int64_t rounds) {    \
    int32x4_t x[kChains];                                               \
    for (int c = 0; c < kChains; ++c) x[c] = vdupq_n_s32(c);            \
    int8x16_t codes = vdupq_n_s8(3);                                    \
    const int8x16_t factors = vdupq_n_s8(2);                            \
    for (int64_t i = 0; i < rounds; ++i) {                              \
      _Pragma("GCC unroll 16") for (int c = 0; c < kChains; ++c) x[c] = \
          product(x[c], codes, factors);                                \
      asm volatile("" : "+w"(codes));                                   \
    }                                                                   \
    for (int c = 1; c < kChains; ++c) x[0] = vaddq_s32(x[0], x[c]);     \
    return float(vgetq_lane_s32(x[0], 0));                              \
  }
ANSER_INT8_LOOP(int8_dotprod, "arch=armv8.2-a+dotprod", vdotq_s32)
ANSER_INT8_LOOP(int8_i8mm, "arch=armv8.2-a+dotprod+i8mm", vmmlaq_s32)
#undef ANSER_INT8_LOOP
#endif

// Four lanes: SSE2, Neon.
float fma_baseline(int64_t rounds) {
  using Lanes = float __attribute__((vector_size(16)));
  constexpr int kBaselineChains = 12;
  Lanes x[kBaselineChains];
  for (int c = 0; c < kBaselineChains; ++c) x[c] = Lanes{} + (1.0f + float(c));
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kBaselineChains; ++c) x[c] = x[c] * kFactor + kSummand;
  }
  for (int c = 1; c < kBaselineChains; ++c) x[0] += x[c];
  return x[0][0];
}

struct Loop {
  float (*run)(int64_t rounds);
  double operations_per_round;
};

// Of the instruction set that the kernels use: the best of this machine, or what ANSER_ISA names.
Loop choose_fma_loop(const std::string& isa) {
#if defined(__x86_64__)
  if (isa.starts_with("avx512")) return {fma_avx512, 16 * 16 * 2};
  if (isa == "avx2") return {fma_avx2, 12 * 8 * 2};
#elif defined(__aarch64__)
  if (isa != "baseline") return {fma_neon, 16 * 4 * 2};
#endif
  return {fma_baseline, 12 * 4 * 2};
}

Loop choose_int8_loop(const std::string& isa) {
#if defined(__x86_64__)
  if (isa == "avx512vnni") return {int8_vnni, 16 * 64 * 2};
  if (isa == "avx512") return {int16_avx512, 16 * 32 * 2};
  if (isa == "avx2") return {int16_avx2, 12 * 16 * 2};
#elif defined(__aarch64__)
  if (isa == "i8mm") return {int8_i8mm, 16 * 32 * 2};
  if (isa == "dotprod") return {int8_dotprod, 16 * 16 * 2};
#endif
  return {nullptr, 0};
}

// Where codes of 4 bits may be multiplied faster than those of 8.
Loop choose_int4_loop(const std::string& isa) {
#if defined(__x86_64__)
  if (isa == "avx2") return {int4_avx2, 12 * 32 * 2};
#endif
  return choose_int8_loop(isa);
}

double measure_peak(const Loop& loop, int threads, int runs) {
  constexpr int64_t kRounds = 1'000'000;  // some 5 ms
  std::atomic<float> sink = 0;
  const auto work = [&](int) { sink = loop.run(kRounds); };
  median_seconds(threads, 2, work);  // the clock settles at what wide vectors allow
  return double(kRounds) * loop.operations_per_round * threads /
         median_seconds(threads, runs, work) / 1e9;
}

}  // namespace

double measure_stream_gb_s(int threads, int megabytes, int runs) {
  const size_t bytes = size_t(megabytes) << 20;
  const Buffer buffer(bytes);
  const size_t words = bytes / sizeof(uint64_t) / size_t(threads) / 64 * 64;
  std::atomic<uint64_t> sink = 0;
  // The owner writes first: pages come into being where they will be read, and untouched pages
  // would all be the one page of zeros.
  median_seconds(threads, 1, [&](int thread) {
    uint64_t* part = buffer.words() + size_t(thread) * words;
    for (size_t i = 0; i < words; ++i) part[i] = i;
  });
  const double seconds = median_seconds(threads, runs, [&](int thread) {
    sink += read_streams(buffer.words() + size_t(thread) * words, words);
  });
  return double(words) * sizeof(uint64_t) * threads / seconds / 1e9;
}

MachineSpeed measure_machine(const Engine& engine) {
  if (engine.device() == Device::cuda) {
    return {measure_cuda_stream_gb_s(), measure_cuda_peak_gflop_s(), "f16", 0, 0};
  }
  constexpr int kRuns = 5;
  const int threads = engine.threads();
  const std::string isa = choose_kernels().name;
  const auto peak = [&](const Loop& loop) {
    return loop.run == nullptr ? 0 : measure_peak(loop, threads, kRuns);
  };
  return {measure_stream_gb_s(threads), peak(choose_fma_loop(isa)), "fp32",
          peak(choose_int8_loop(isa)), peak(choose_int4_loop(isa))};
}

}  // namespace anser
