// The largest logits of a row, for a sampler: a radix select, by one block of a row.
//
// A logit's image is an integer with the same order. Two histograms of its leading and its next
// kRadixBits give the threshold; then a warp marks which of 32 neighbouring tokens are above it,
// and the marks say where each candidate goes. Everything that is counted is an integer and
// everything that is summed has one order, so nothing depends on timing.
//
// Three passes over the row, one where the best alone is wanted. Between the first and the others
// the row stays in L2.
#pragma once

#include <cstring>

#include "cuda/kernels/block.h"

namespace anser::cuda {

constexpr int kCandidateThreads = 1024;
constexpr int kCandidateWarps = kCandidateThreads / kWarp;
constexpr int kRadixBits = 11;
constexpr int kBins = 1 << kRadixBits;
constexpr int kBinsOfThread = kBins / kCandidateThreads;
constexpr int kLowBits = 32 - 2 * kRadixBits;  // that the threshold leaves out
constexpr int kLoads = 8;                      // that a lane has under way

__device__ inline float minus_infinity() {
  return -__builtin_inff();
}

// a < b for floats is image(a) < image(b); 0 and -0 are equal.
__device__ inline uint32_t image(float x) {
  x += 0.0f;  // -0 + 0 is 0
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

// The logit of `id` after its change, if it has one.
__device__ inline float changed_logit(const CandidateRow& row, int id) {
  int low = 0, high = row.change_count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (row.changes[middle].id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const float x = row.logits[id];
  if (low == row.change_count || row.changes[low].id != id) return x;
  return x - row.changes[low].minus;
}

// work(word, id, logit) for every token and, in the last of the words of 32, some past the end: of
// -inf. `changed` has a bit for every token. A warp calls it together.
template <class Work>
__device__ void for_each_logit(const CandidateRow& row, int vocab, const uint32_t* changed,
                               Work&& work) {
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int words = (vocab + kWarp - 1) / kWarp;
  for (int first = warp; first < words; first += kLoads * kCandidateWarps) {
    float x[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int id = (first + i * kCandidateWarps) * kWarp + lane;
      x[i] = id < vocab ? row.logits[id] : minus_infinity();
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int word = first + i * kCandidateWarps, id = word * kWarp + lane;
      if (word >= words) break;
      if ((changed[word] >> lane & 1) != 0) x[i] = changed_logit(row, id);
      work(word, id, x[i]);
    }
  }
}

// The largest over the block, in every thread.
__device__ inline uint64_t block_max(uint64_t x) {
  __shared__ uint64_t of_warp[kCandidateWarps];
  x = warp_max(x);
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = x;
  block_sync();
  for (int w = 0; w < kCandidateWarps; ++w) x = of_warp[w] > x ? of_warp[w] : x;
  return x;
}

// The sum over the threads before this one. `scratch` [kCandidateThreads].
__device__ inline int block_sum_before(int x, int* scratch) {
  const int t = int(threadIdx.x);
  block_sync();  // whatever was in scratch has been read
  scratch[t] = x;
  int sum = x;
  for (int distance = 1; distance < kCandidateThreads; distance *= 2) {
    block_sync();
    const int other = t >= distance ? scratch[t - distance] : 0;
    block_sync();
    scratch[t] = sum += other;
  }
  return sum - x;
}

// A bin, and how many numbers lie in those above it.
struct Cut {
  int bin, above;
};

// The bin in which the number that is too many lies: those above it hold at most `most`, with it
// they hold more. Bin -1: all bins together hold no more. `bins` is used up.
__device__ inline Cut find_cut(int* bins, int most) {
  __shared__ Cut found;
  const int t = int(threadIdx.x);
  int own[kBinsOfThread], sum = 0;  // from the top
  for (int i = 0; i < kBinsOfThread; ++i) {
    sum += own[i] = bins[kBins - 1 - (t * kBinsOfThread + i)];
  }
  if (t == 0) found = {-1, 0};
  int above = block_sum_before(sum, bins);
  for (int i = 0; i < kBinsOfThread; ++i) {
    if (above <= most && most < above + own[i]) {
      found = {kBins - 1 - (t * kBinsOfThread + i), above};
    }
    above += own[i];
  }
  block_sync();
  const Cut cut = found;
  block_sync();
  return cut;
}

__device__ inline void clear_bins(int* bins) {
  for (int i = int(threadIdx.x); i < kBins; i += kCandidateThreads) bins[i] = 0;
}

// grid [rows]; shared: kBins, and a word for every 32 tokens.
__global__ void __launch_bounds__(kCandidateThreads) candidates_kernel(CandidatesArgs args) {
  admit_successor();
  await_predecessors();
  const CandidateRow row = args.rows[blockIdx.x];
  FoundRow& found = args.found[blockIdx.x];
  const int words = (args.vocab + kWarp - 1) / kWarp, t = int(threadIdx.x);
  int* bins = reinterpret_cast<int*>(shared_floats());
  uint32_t* marks =
      reinterpret_cast<uint32_t*>(bins + kBins);  // first of changes, then of candidates
  for (int w = t; w < words; w += kCandidateThreads) marks[w] = 0;
  clear_bins(bins);
  block_sync();
  for (int i = t; i < row.change_count; i += kCandidateThreads) {
    const int id = row.changes[i].id;
    atomic_add(&marks[id / kWarp], uint32_t{1} << id % kWarp);  // every id at most once
  }
  block_sync();

  // The best: the largest image, and of those that have it the lowest id.
  uint64_t best = 0;
  float bad = 0;
  for_each_logit(row, args.vocab, marks, [&](int, int id, float x) {
    if (!(x < -minus_infinity())) bad = 1;
    if (x == minus_infinity()) return;
    const uint64_t ranked = uint64_t(image(x)) << 32 | uint32_t(~id);
    best = ranked > best ? ranked : best;
    if (row.most > 0) atomic_add(&bins[image(x) >> (32 - kRadixBits)], 1);
  });
  best = block_max(best);
  const int best_id = int(~uint32_t(best));
  const float max = best == 0 ? minus_infinity() : changed_logit(row, best_id);
  const bool well_formed = block_sum(bad) == 0;
  if (t == 0) found = {best_id, max, 0, 0, well_formed ? 1 : 0, 0};
  if (row.most == 0 || best == 0 || !well_formed) return;

  const Cut upper = find_cut(bins, row.most);
  uint32_t threshold = 0;  // of images
  if (upper.bin >= 0) {
    clear_bins(bins);
    block_sync();
    for_each_logit(row, args.vocab, marks, [&](int, int, float x) {
      const uint32_t key = image(x);
      if (int(key >> (32 - kRadixBits)) == upper.bin && x > minus_infinity()) {
        atomic_add(&bins[key >> kLowBits & (kBins - 1)], 1);
      }
    });
    block_sync();
    const Cut lower = find_cut(bins, row.most - upper.above);
    // Above the bin; past the last of the lower ones begins the next of the upper ones.
    threshold = ((uint32_t(upper.bin) << kRadixBits) + uint32_t(lower.bin) + 1) << kLowBits;
  }

  float rest = 0;
  for_each_logit(row, args.vocab, marks, [&](int word, int, float x) {
    const bool possible = x > minus_infinity();
    const bool chosen = possible && image(x) >= threshold;
    const uint32_t of_warp = ballot(chosen);
    if (t % kWarp == 0) marks[word] = of_warp;
    if (possible && !chosen) rest += expf((x - max) * row.inverse_temperature);
  });
  rest = block_sum(rest);  // from here on all marks are there

  const int words_of_thread = (words + kCandidateThreads - 1) / kCandidateThreads;
  const int begin = t * words_of_thread;
  const int end = begin + words_of_thread < words ? begin + words_of_thread : words;
  int count = 0;
  for (int w = begin; w < end; ++w) count += count_bits(marks[w]);
  int at = block_sum_before(count, bins);
  FoundCandidate* to = args.candidates + int64_t(blockIdx.x) * args.stride;
  for (int w = begin; w < end; ++w) {
    for (int lane = 0; lane < kWarp; ++lane) {
      if ((marks[w] >> lane & 1) == 0) continue;
      const int id = w * kWarp + lane;
      to[at++] = {id, changed_logit(row, id)};
    }
  }
  // The last thread ends where all do.
  if (t == kCandidateThreads - 1) {
    found.count = at;
    found.all = upper.bin < 0 ? 1 : 0;
    found.rest = rest;
  }
}

}  // namespace anser::cuda
