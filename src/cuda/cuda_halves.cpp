// In which order the parts of a step go through its phases.
//
// A recurrence reads and writes states: it waits for memory, while products of many rows wait for
// arithmetic. So a step of many rows is computed in two halves, and recurrences have a queue of
// their own beside the products': while one half's states pass by, the other half's products go on.
// The second half runs most of a layer behind, so that there is always enough beside a recurrence:
//
//   products      project(A, l)   output .. contract(B, l-1)   project(B, l)   output ..
//   contract(A, l) recurrences                   recur(A, l) recur(B, l)
#include <algorithm>
#include <cstdlib>

#include "cuda/cuda_backend.h"

namespace anser {

using namespace cuda;

bool CudaBackend::chunked(std::span<const Run> runs) const {
  return chunks_ && std::any_of(runs.begin(), runs.end(), [](const Run& run) {
           const RunEntry entry = {nullptr, run.first, run.count, int(run.position % kChunkTokens)};
           return entry.chunks() > 0;
         });
}

CudaBackend::Activations CudaBackend::from_row(int first) const {
  Activations from = act_;
  const auto skip = [first](auto*& at, int64_t width) { at += first * width; };
  const auto skip_halves = [&](void*& at, int width) {
    at = static_cast<uint16_t*>(at) + first * int64_t(padded_to_octets(width));
  };
  const int D = h_.width;
  for (float** at : {&from.x, &from.z, &from.r, &from.k, &from.v, &from.v_first, &from.y,
                     &from.w_up, &from.a_up, &from.g_up, &from.v_up}) {
    skip(*at, D);
  }
  skip(from.w1, h_.rank_w);
  skip(from.a1, h_.rank_a);
  skip(from.g1, h_.rank_g);
  skip(from.v1, h_.rank_v);
  skip(from.h, h_.ffn);
  skip(from.vectors, 6 * int64_t(D));
  skip(from.bonus, h_.heads);
  // A line for every 16 rows, the last of them begun.
  from.decays += int64_t((first + kChunkTokens - 1) / kChunkTokens) * D;
  if (activations_ == Format::f32) return from;  // it has none of the others
  for (void*& at : from.mixed) skip_halves(at, D);
  skip_halves(from.y16, D);
  skip_halves(from.h16, h_.ffn);
  skip_halves(from.w1_16, h_.rank_w);
  skip_halves(from.a1_16, h_.rank_a);
  skip_halves(from.g1_16, h_.rank_g);
  skip_halves(from.v1_16, h_.rank_v);
  return from;
}

void CudaBackend::divide(const Rows& rows, int padding) {
  const int runs = int(rows.runs.size()) + padding;
  // Rows that fill up are runs of one row each.
  const auto first_row = [&](int run) {
    const int beyond = run - int(rows.runs.size());
    return beyond < 0 ? rows.runs[size_t(run)].first : rows.count() + beyond;
  };
  // The run that begins nearest to the middle.
  int middle = 0;
  for (int run = 1; run < runs; ++run) {
    const auto from_middle = [&](int of) { return std::abs(2 * first_row(of) - rows_); };
    if (middle == 0 || from_middle(run) < from_middle(middle)) middle = run;
  }
  const bool halves = rows_ >= kHalvedRows && way(rows_) == Way::gemm && !traced_ && middle > 0 &&
                      way(std::min(first_row(middle), rows_ - first_row(middle))) == Way::gemm &&
                      4 * std::abs(2 * first_row(middle) - rows_) <= rows_;
  part_count_ = halves ? 2 : 1;
  const int first_runs[] = {0, halves ? middle : runs, runs};
  for (int p = 0; p < part_count_; ++p) {
    Part& part = parts_[p];
    part.first_run = first_runs[p];
    part.runs = first_runs[p + 1] - first_runs[p];
    part.first_row = p == 0 ? 0 : first_row(part.first_run);
    part.rows = (p + 1 < part_count_ ? first_row(middle) : rows_) - part.first_row;
    const size_t known = std::min(rows.runs.size(), size_t(first_runs[p + 1]));
    part.chunked =
        size_t(part.first_run) < known &&
        chunked(rows.runs.subspan(size_t(part.first_run), known - size_t(part.first_run)));
    part.step = {tables_.rows + part.first_row, tables_.runs + part.first_run, part.rows,
                 part.runs};
    part.act = from_row(part.first_row);
  }
}

void CudaBackend::join(Stream& stream, const Event& event) {
  stream.join(event);
  stream.zero(joints_, sizeof(int));
}

void CudaBackend::project(int layer, const Rows&) {
  v_ = layer == 0 ? act_.v_first : act_.v;
  if (replaying_) return;
  project(layer, parts_[0]);
  if (part_count_ == 1) return;
  stream_.record(projected_[0]);
  if (layer > 0) finish_half(layer - 1);
  project(layer, parts_[1]);
  stream_.record(projected_[1]);
}

void CudaBackend::recur(int layer, const Rows&) {
  if (replaying_) return;
  if (part_count_ == 1) {
    recur(stream_, layer, parts_[0]);
    return;
  }
  for (int p = 0; p < 2; ++p) {
    join(side_, projected_[p]);
    recur(side_, layer, parts_[p]);
    side_.record(recurred_[p]);
  }
  join(stream_, recurred_[0]);
}

void CudaBackend::output(int layer, const Rows&) {
  if (!replaying_) output(layer, parts_[0]);
}

void CudaBackend::expand(int layer, const Rows&) {
  if (!replaying_) expand(layer, parts_[0]);
}

void CudaBackend::contract(int layer, const Rows& rows) {
  if (sparse(rows_)) hidden_ += uint64_t(rows.count()) * uint64_t(h_.ffn);
  if (replaying_) return;
  contract(layer, parts_[0]);
  if (part_count_ == 2 && layer + 1 == layers()) finish_half(layer);
}

// What the second half still has to do in a layer.
void CudaBackend::finish_half(int layer) {
  join(stream_, recurred_[1]);
  output(layer, parts_[1]);
  expand(layer, parts_[1]);
  contract(layer, parts_[1]);
}

}  // namespace anser
