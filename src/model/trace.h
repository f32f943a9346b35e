// A backend that looks over another one's shoulder: forward(trace, rows) runs the phases of the
// inner backend and records every phase's outputs by name, so that two backends, or a backend and
// the reference, can be compared phase by phase: the first that differs is the one to look at.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/forward.h"
#include "model/rows.h"

namespace anser {

// The inner backend also has `view(name, rows)`: a copy [rows][width of that buffer] of one of its
// buffers, by the name the equations use: x, r, w, k, v, a, g, y, h.
template <Backend B>
class Trace {
 public:
  explicit Trace(B& inner) : inner_(inner) {}

  int layers() const { return inner_.layers(); }

  void embed(const Rows& rows) {
    inner_.embed(rows);
    record("embed", rows, {"x"});
  }
  void project(int layer, const Rows& rows) {
    inner_.project(layer, rows);
    record(phase(layer, "project"), rows, {"r", "k", "v"});
  }
  void recur(int layer, const Rows& rows) {
    inner_.recur(layer, rows);
    record(phase(layer, "recur"), rows, {"w", "a", "g", "y"});
  }
  void output(int layer, const Rows& rows) {
    inner_.output(layer, rows);
    record(phase(layer, "output"), rows, {"x"});
  }
  void expand(int layer, const Rows& rows) {
    inner_.expand(layer, rows);
    record(phase(layer, "expand"), rows, {"h"});
  }
  void contract(int layer, const Rows& rows) {
    inner_.contract(layer, rows);
    record(phase(layer, "contract"), rows, {"x"});
  }
  void logits(const Rows& rows) { inner_.logits(rows); }

  // "3.project.k" -> [rows][D], of the last forward call.
  const std::map<std::string, std::vector<float>>& recorded() const { return recorded_; }

 private:
  static std::string phase(int layer, const char* name) {
    return std::to_string(layer) + "." + name;
  }
  void record(const std::string& phase, const Rows& rows,
              std::initializer_list<const char*> names) {
    for (const char* name : names) recorded_[phase + "." + name] = inner_.view(name, rows.count());
  }

  B& inner_;
  std::map<std::string, std::vector<float>> recorded_;
};

}  // namespace anser
