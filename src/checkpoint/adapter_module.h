// A module of an adapter, held against the matrix of the base that it changes.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "checkpoint/adapter.h"
#include "checkpoint/adapter_config.h"

namespace anser {

// All arguments must outlive it. `adapter` may be unfinished: its path, its files and what PiSSA
// began with are looked at.
class ModuleChecker {
 public:
  ModuleChecker(const Adapter& given, const Checkpoint& base, const OpenedAdapter& adapter,
                const std::optional<AdapterConfig>& config)
      : given_(given), base_(base), adapter_(adapter), config_(config) {}

  // Checks that the module for the matrix `name` has all its tensors and that their shapes fit, and
  // computes its factor. Throws Error.
  void finish(const std::string& name, MatrixChange& change);

  // Of all modules so far: for people.
  const std::set<int64_t>& ranks() const { return ranks_; }
  const std::set<double>& alphas() const { return alphas_; }
  // Whether one needed the alpha that the user gave.
  bool alpha_used() const { return alpha_used_; }

 private:
  void need(const FileTensor* tensor, const MatrixChange& change, const char* what) const;
  // `out` and `in`: of the matrix. The rank of a pair.
  void finish_low_rank(MatrixChange& change, int64_t out, int64_t in);
  int64_t check_pair(const FileTensor& a, const FileTensor& b, int64_t out, int64_t in,
                     const std::string& path) const;
  void finish_shards(MatrixChange& change, int64_t out, int64_t in);

  const Adapter& given_;
  const Checkpoint& base_;
  const OpenedAdapter& adapter_;
  const std::optional<AdapterConfig>& config_;
  std::set<int64_t> ranks_;
  std::set<double> alphas_;
  bool alpha_used_ = false;
};

// Throws Error when a number of the tensor, out of the file `path`, is NaN or infinite.
void check_finite(const FileTensor& tensor, const std::string& path);

}  // namespace anser
