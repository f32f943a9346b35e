// The CPU backend with an eye on its recurrence: forward(observed, rows) does what it does, and
// those runs of the rows that have a trace (Run::trace) get what their tokens did to the state.
//
// The backend's kernels know nothing of this. S is remembered before a layer's recurrence, and
// taken through the run's tokens once more, in double precision, from the vectors that the backend
// made.
#pragma once

#include <vector>

#include "cpu/cpu_backend.h"

namespace anser {

class ObservedBackend {
 public:
  explicit ObservedBackend(CpuBackend& inner) : inner_(inner) {}

  int layers() const { return inner_.layers(); }
  void embed(const Rows& rows);
  void project(int layer, const Rows& rows) { inner_.project(layer, rows); }
  void recur(int layer, const Rows& rows);
  void output(int layer, const Rows& rows) { inner_.output(layer, rows); }
  void expand(int layer, const Rows& rows) { inner_.expand(layer, rows); }
  void contract(int layer, const Rows& rows) { inner_.contract(layer, rows); }
  void logits(const Rows& rows) { inner_.logits(rows); }

 private:
  CpuBackend& inner_;
};

}  // namespace anser
