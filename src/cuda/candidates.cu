#include "cuda/kernels/candidates.h"
#include "cuda/launch.h"

namespace anser::cuda {

namespace {

size_t shared_bytes(int vocab) {
  return (kBins + size_t(divide_up(vocab, kWarp))) * sizeof(int);
}

}  // namespace

void candidates(void* stream, const CandidatesArgs& args) {
  if (args.row_count == 0) return;
  queue_kernel(stream, candidates_kernel, dim3(unsigned(args.row_count)), kCandidateThreads,
               shared_bytes(args.vocab), args);
}

bool candidates_support(int vocab) {
  return shared_bytes(vocab) <= 44 * 1024;  // of the 48 that every block may have; 4 are for sums
}

double candidates_rest_error(int vocab) {
  // All in units of 2^-24, half of a last place, and for sums of positive terms. The exponent is
  // rounded three times (difference, 1 / temperature, product) and no larger than 104 where exp()
  // is not zero: 312. exp() itself: 4. A thread adds up V / 1024 terms, a block 5 + 32 such sums.
  return (double(vocab) / kCandidateThreads + 360) * 0x1p-24;
}

}  // namespace anser::cuda
