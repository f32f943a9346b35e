// What can go wrong with a store of states, by whose fault it is.
//
// Plain Errors of a store are about what it was asked: labels that nobody may give, a text that is
// no id, a state of another model. All else is one of these.
#pragma once

#include <cerrno>
#include <string>

#include "anser/error.h"

namespace anser {

// `what` names folders, files and addresses, for whoever keeps the store; `told` is fit for
// strangers: it says the same without them.
class StoreError : public Error {
 public:
  StoreError(const std::string& what, const std::string& told) : Error(what), told_(told) {}
  const std::string& told() const { return told_; }

 private:
  std::string told_;
};

// The store cannot be reached, or not at present: the same call may do later.
class StatesUnavailable : public StoreError {
 public:
  using StoreError::StoreError;
};

class UnknownState : public StoreError {
 public:
  using StoreError::StoreError;
};

// Another state has the name, or has been faster to take it.
class NameTaken : public StoreError {
 public:
  using StoreError::StoreError;
};

// There is no room for more: on the disk, in Redis's memory, or by the limit that was set.
class StoreFull : public StoreError {
 public:
  using StoreError::StoreError;
};

// The disk fails, files cannot be touched or are not what this program writes, and the like.
class StoreFailed : public StoreError {
 public:
  using StoreError::StoreError;
};

// What strangers are told of a failure whose own words name a place.
inline constexpr char kToldFailed[] =
    "the store of states cannot be read or written; the server's log says why";
inline constexpr char kToldFull[] =
    "the store of states has no room left: remove some, or ask who keeps the server for more";

// What `error`, a number of errno, stands for; `what` is the whole sentence.
[[noreturn]] void fail_as(int error, const std::string& what);

// Runs what touches files; plain Errors that it throws become StoreFull or StoreFailed.
template <class Work>
auto touching_files(Work&& work) {
  errno = 0;
  try {
    return work();
  } catch (const StoreError&) {
    throw;
  } catch (const Error& error) {
    // Of the call that failed: closing and deleting what it leaves behind succeeds, and says
    // nothing.
    fail_as(errno, error.what());
  }
}

}  // namespace anser
