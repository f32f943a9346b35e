// All states of a store, one page after the other: a store may hold more than memory should.
#pragma once

#include <utility>

#include "store/states.h"

namespace anser {

// `work` gets each StateInfo.
template <class Work>
void for_each_state(States& states, const StateFilter& filter, Work&& work) {
  PageOptions options;
  for (;;) {
    StatePage page = states.page(filter, options);
    options.go_on = std::move(page.next);
    for (StateInfo& info : page.states) work(std::move(info));
    if (!page.more) return;
  }
}

}  // namespace anser
