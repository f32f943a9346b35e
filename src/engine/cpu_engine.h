// The engine on the CPU.
#pragma once

#include "cpu/cpu_backend.h"
#include "cpu/observed_backend.h"
#include "engine/backend_engine.h"

namespace anser {

static_assert(Backend<CpuBackend>);

// CpuEngine(model, threads, max_rows, kernels)
using CpuEngine = BackendEngine<CpuBackend>;

}  // namespace anser
