#include "cuda/kernels/contract.h"
#include "cuda/launch.h"

namespace anser::cuda {

void contract(void* stream, const ContractArgs& args) {
  const auto queue = [&](auto kernel, int rows) {
    queue_kernel(stream, kernel,
                 dim3(unsigned(divide_up(args.value.rows, kContractColumns)),
                      unsigned(divide_up(args.value.cols, kShareLines)),
                      unsigned(divide_up(args.rows, rows))),
                 kContractThreads, 0, args);
  };
  if (args.rows == 1) {
    queue(contract_kernel<1>, 1);
  } else {
    queue(contract_kernel<kContractRows>, kContractRows);
  }
}

}  // namespace anser::cuda
