#include "store/store_errors.h"

namespace anser {

void fail_as(int error, const std::string& what) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) throw StoreFull(what, kToldFull);
  // Of the process, and for the moment.
  if (error == EMFILE || error == ENFILE || error == ENOMEM) {
    throw StatesUnavailable(what, kToldFailed);
  }
  throw StoreFailed(what, kToldFailed);
}

}  // namespace anser
