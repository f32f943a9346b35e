// Bounds on the sizes of a model, checked when a file is opened so that nothing behind it has to.
// Read by the instruction-set files: plain declarations only.
#pragma once

namespace anser {

constexpr int kMaxHeadSize = 512;  // bounds the recurrence's stack arrays

}  // namespace anser
