// How GGUF files spell the names of an RWKV-7's tensors.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// "blk.3.time_mix_w1.weight" -> "blocks.3.att.w1"; empty for a tensor that is not part of the
// model. The six vectors of the token shift are one tensor, att.x_x, or six of their own in files
// of early converters.
std::string original_from_gguf(std::string_view name);

// The other way round. Any of att.x_r ... att.x_g is part of time_mix_lerp_fused.
std::string gguf_from_original(std::string_view name);

}  // namespace anser
