#include "model/phases.h"

#include <string>

namespace anser {

const char* phase_name(Phase phase) {
  constexpr const char* kNames[] = {"embed",  "project",  "recur", "output",
                                    "expand", "contract", "logits"};
  return kNames[size_t(phase)];
}

namespace {

// Adds every tensor up where it is used.
struct ByPhase {
  std::array<PhaseWork, kPhases>& work;
  int rows, wanted;
  double skipped;

  static Phase phase_of(const std::string& name) {
    const auto within = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (within("ln0")) return Phase::embed;
    if (name.starts_with("ln_out") || name.starts_with("head")) return Phase::logits;
    if (within(".ln2") || within(".ffn.x_k") || within(".ffn.key")) return Phase::expand;
    if (within(".ffn.value")) return Phase::contract;
    if (within(".att.output")) return Phase::output;
    const bool projected = within(".ln1") || within(".att.x_") || within(".att.receptance") ||
                           within(".att.key") || within(".att.value");
    const bool first_half = within(".att.") && name.ends_with("1");
    return projected || first_half ? Phase::project : Phase::recur;
  }

  void vector(const std::string& name, const Vector& v, int) {
    work[size_t(phase_of(name))].bytes += v.size() * sizeof(float);
  }
  void low_rank(const std::string& name, const Matrix& m, int outputs, int inputs) {
    matrix(name, m, outputs, inputs);
  }
  void matrix(const std::string& name, const Matrix& m, int, int) {
    if (name == "emb.weight") {  // one line a row
      work[size_t(Phase::embed)].bytes += size_t(rows) * m.row_bytes();
      return;
    }
    const Phase phase = phase_of(name);
    const double read = phase == Phase::contract ? 1 - skipped : 1;
    work[size_t(phase)].bytes += m.bytes() - size_t((1 - read) * double(m.bytes()));
    work[size_t(phase)].flops +=
        2.0 * m.rows * m.cols * (phase == Phase::logits ? wanted : rows) * read;
  }
};

}  // namespace

std::array<PhaseWork, kPhases> phase_work(const Weights& weights, const Hyperparameters& h,
                                          int rows, int sequences, int wanted, size_t state_bytes,
                                          double skipped) {
  std::array<PhaseWork, kPhases> work;
  visit_weights(weights, h, ByPhase{work, rows, wanted, skipped});
  // States: S and the time mix's shift are read and written, the shift by different phases; so is
  // the channel mix's.
  const size_t shift = size_t(sequences) * size_t(h.layers) * size_t(h.width) * sizeof(float);
  const size_t S = size_t(sequences) * state_bytes - 2 * shift;
  work[size_t(Phase::project)].bytes += shift;
  work[size_t(Phase::recur)].bytes += shift + 2 * S;
  work[size_t(Phase::expand)].bytes += shift;
  work[size_t(Phase::contract)].bytes += shift;
  return work;
}

}  // namespace anser
