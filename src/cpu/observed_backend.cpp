#include "cpu/observed_backend.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "anser/state_trace.h"

namespace anser {
namespace {

double norm(std::span<const double> x) {
  double squares = 0;
  for (const double e : x) squares += e * e;
  return std::sqrt(squares);
}

// One head's S, taken through tokens by the equations at RecurArgs.
class ObservedHead {
 public:
  ObservedHead(const float* S, int size)
      : n_(size_t(size)),
        S_(S, S + n_ * n_),
        w_(n_),
        k_(n_),
        v_(n_),
        kk_(n_),
        kk_a_(n_),
        u_(n_),
        squares_(n_) {}

  struct Moved {
    double kept, erased, written;
  };
  Moved pass(const RecurArgs& args, int token) {
    read_vectors(args, int64_t(token) * args.stride);

    // Of each column, so that neighbours in memory are summed side by side.
    std::ranges::fill(squares_, 0.0);
    for (size_t i = 0; i < n_; ++i) {
      const double* s = &S_[i * n_];
      double u = 0;
      for (size_t j = 0; j < n_; ++j) {
        squares_[j] += s[j] * s[j];
        u += s[j] * kk_[j];
      }
      u_[i] = u;
    }
    double whole = 0, faded = 0;
    for (size_t j = 0; j < n_; ++j) {
      whole += squares_[j];
      faded += squares_[j] * w_[j] * w_[j];
    }

    std::ranges::fill(squares_, 0.0);
    for (size_t i = 0; i < n_; ++i) {
      double* s = &S_[i * n_];
      for (size_t j = 0; j < n_; ++j) {
        const double left = s[j] * w_[j] - u_[i] * kk_a_[j];
        squares_[j] += left * left;
        s[j] = left + v_[i] * k_[j];
      }
    }
    double left = 0;
    for (const double square : squares_) left += square;

    const double erased = norm(u_) * norm(kk_a_), written = norm(v_) * norm(k_);
    const double after = std::sqrt(left) + written;
    return {whole > 0 ? std::sqrt(faded / whole) : 1, whole > 0 ? erased / std::sqrt(whole) : 0,
            after > 0 ? written / after : 0};
  }

 private:
  void read_vectors(const RecurArgs& args, int64_t at) {
    for (size_t j = 0; j < n_; ++j) {
      const double k = args.k[at + j], a = args.a[at + j], v = args.v[at + j];
      w_[j] = args.w[at + j];
      v_[j] = args.nu == nullptr ? v : v + (args.v_first[at + j] - v) * args.nu[at + j];
      k_[j] = k * (1 + (a - 1) * args.k_a[j]);
      kk_[j] = k * args.k_k[j];
    }
    const double length = std::max(norm(kk_), 1e-12);
    for (size_t j = 0; j < n_; ++j) {
      kk_[j] /= length;
      kk_a_[j] = kk_[j] * args.a[at + j];
    }
  }

  const size_t n_;
  std::vector<double> S_;  // [value i][key j]
  std::vector<double> w_, k_, v_, kk_, kk_a_, u_, squares_;
};

}  // namespace

void ObservedBackend::embed(const Rows& rows) {
  for (const Run& run : rows.runs) {
    if (run.trace == nullptr) continue;
    StateTrace& trace = *run.trace;
    trace.layers = inner_.layers();
    trace.heads = inner_.heads();
    const size_t size = trace.kept.size() + size_t(run.count) * trace.layers * trace.heads;
    for (auto* numbers : {&trace.kept, &trace.erased, &trace.written}) numbers->resize(size);
  }
  inner_.embed(rows);
}

void ObservedBackend::recur(int layer, const Rows& rows) {
  struct Work {
    const Run& run;
    int head;
    ObservedHead S;  // before the run
  };
  std::vector<Work> all;
  for (const Run& run : rows.runs) {
    for (int head = 0; run.trace != nullptr && head < inner_.heads(); ++head) {
      const RecurArgs args = inner_.recur_args(layer, run, head);
      all.push_back({run, head, ObservedHead(args.state, args.head_size)});
    }
  }
  inner_.recur(layer, rows);
  inner_.pool().run([&](int worker) {
    const Part part = part_of(int64_t(all.size()), worker, inner_.threads());
    for (Work& work : std::span(all).subspan(part.begin, part.end - part.begin)) {
      for (int token = 0; token < work.run.count; ++token) {
        const auto moved = work.S.pass(inner_.recur_args(layer, work.run, work.head), token);
        StateTrace& trace = *work.run.trace;
        const size_t row = trace.tokens() - size_t(work.run.count - token);
        const size_t at = (row * trace.layers + layer) * trace.heads + work.head;
        trace.kept[at] = float(moved.kept);
        trace.erased[at] = float(moved.erased);
        trace.written[at] = float(moved.written);
      }
    }
  });
}

}  // namespace anser
