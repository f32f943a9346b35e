#include "cuda/kernels/logits.h"
#include "cuda/launch.h"

namespace anser::cuda {

void deliver(void* stream, const DeliverArgs& args) {
  queue_kernel(stream, deliver_kernel,
               dim3(unsigned(divide_up(args.vocab, kDeliverLogits)), unsigned(args.rows)),
               kDeliverThreads, 0, args);
}

}  // namespace anser::cuda
