#include "cuda/candidate_search.h"

#include <algorithm>
#include <cstring>

namespace anser {

using namespace cuda;

// Copied as they lie.
static_assert(sizeof(CandidateChange) == sizeof(LogitChange));
static_assert(sizeof(FoundCandidate) == sizeof(Candidates::Entry));

void CandidateSearch::Pair::reserve(size_t bytes) {
  if (bytes <= device.bytes()) return;
  const size_t more = std::max(bytes, 2 * device.bytes());
  device = Buffer();  // first, so that both need not fit at once
  device = Buffer(more);
  host = PinnedBuffer(more);
}

void CandidateSearch::queue(Stream& stream, int vocab, std::span<const float* const> logits,
                            std::span<const CandidateQuery> queries) {
  const size_t rows = logits.size();
  vocab_ = vocab;
  results_.resize(rows);
  if (rows == 0) return;
  size_t changes = 0;
  stride_ = 0;
  for (const CandidateQuery& query : queries) {
    changes += query.changes.size();
    stride_ = std::max(stride_, query.most);
  }
  const size_t changes_at = aligned(rows * sizeof(CandidateRow));
  const size_t asked_bytes = changes_at + changes * sizeof(CandidateChange);
  const size_t candidates_at = aligned(rows * sizeof(FoundRow));
  const size_t found_bytes = candidates_at + rows * size_t(stride_) * sizeof(FoundCandidate);
  asked_.reserve(asked_bytes);
  found_.reserve(found_bytes);

  auto* to = reinterpret_cast<CandidateRow*>(asked_.host.data());
  size_t at = changes_at;
  for (size_t i = 0; i < rows; ++i) {
    const CandidateQuery& query = queries[i];
    to[i] = {.logits = logits[i],
             .changes = asked_.device.as<CandidateChange>(at),
             .change_count = int(query.changes.size()),
             .most = query.most,
             .inverse_temperature = float(1 / query.temperature)};
    std::copy(query.changes.begin(), query.changes.end(),
              reinterpret_cast<LogitChange*>(asked_.host.data() + at));
    at += query.changes.size_bytes();
  }
  stream.upload(asked_.device.data(), asked_.host.data(), asked_bytes);
  cuda::candidates(stream.handle(),
                   {.rows = asked_.device.as<CandidateRow>(),
                    .row_count = int(rows),
                    .vocab = vocab,
                    .stride = stride_,
                    .found = found_.device.as<FoundRow>(),
                    .candidates = found_.device.as<FoundCandidate>(candidates_at)});
  stream.download(found_.host.data(), found_.device.data(), found_bytes);
}

std::span<const Candidates> CandidateSearch::found() {
  const size_t candidates_at = aligned(results_.size() * sizeof(FoundRow));
  const auto* rows = reinterpret_cast<const FoundRow*>(found_.host.data());
  const auto* candidates =
      reinterpret_cast<const Candidates::Entry*>(found_.host.data() + candidates_at);
  for (size_t i = 0; i < results_.size(); ++i) {
    results_[i] = {.above = {candidates + i * size_t(stride_), size_t(rows[i].count)},
                   .all = rows[i].all != 0,
                   .well_formed = rows[i].well_formed != 0,
                   .best = rows[i].best,
                   .max = rows[i].max,
                   .rest = rows[i].rest,
                   .rest_error = candidates_rest_error(vocab_),
                   .vocab = size_t(vocab_)};
  }
  return results_;
}

}  // namespace anser
