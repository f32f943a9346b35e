// RWKV-7, the forward pass.
//
// x is the residual stream, [rows][D]: one row for every new token of every sequence. All rows go
// through a phase together; only `recur` and the token shifts know which rows follow each other.
// A prompt is many rows of one sequence, decoding one row of each: the same call.
//
// A layer is five phases, the grain at which fusing pays. Inside a phase a backend does as it
// likes; the equations below are what it must compute. W' y means a matrix stored as
// [outputs][inputs], sigma is the logistic function, (.) elementwise, previous(z) is z of the same
// sequence's previous token (from the state for its first new token; zeros at the very beginning).
//
//   embed      x = LN0(E[token]), or E[token] of a table that holds what LN0 makes of it
//
//   project    z   = LN1(x)
//              z_c = z + (previous(z) - z) (.) x_c                    for c in r w k v a g
//              r   = receptance' z_r     k = key' z_k     v = value' z_v
//              w1' z_w, a1' z_a, g1' z_g, v1' z_v                     the narrow halves of w a g nu
//
//   recur      w   = exp(-e^(-1/2) sigma(w0 + w2' tanh(w1' z_w)))     decay, 0.545 to 1
//              a   = sigma(a0 + a2' (a1' z_a))                        in-context learning rate
//              g   = g2' sigma(g1' z_g)                               gate
//              nu  = sigma(v0 + v2' (v1' z_v))                        (not in layer 0)
//              v   = v + (v_first - v) (.) nu       v_first: the v of layer 0 of the same token
//              kk  = k (.) k_k, each head divided by its length       removal key
//              k   = k (.) (1 + (a - 1) (.) k_a)                      replacement key
//              per head, S [value i][key j]:
//              S   = S diag(w) - (S kk) (kk (.) a)^T + v k^T          fade, erase, write
//              y   = S r                                              read
//              y   = group norm of each head, weight and bias ln_x
//              y   = y + (sum_j r_j k_j r_k_j) v                      bonus
//              y   = y (.) g
//
//   output     x = x + output' y
//
//   expand     z = LN2(x);  z = z + (previous(z) - z) (.) x_k
//              h = max(key' z, 0)^2                                   mostly exact zeros
//
//   contract   x = x + value' h
//
//   logits     head' LN_out(x), for the rows that want them
#pragma once

#include <concepts>

namespace anser {

struct Rows;  // model/rows.h

template <class B>
concept Backend = requires(B backend, int layer, const Rows& rows) {
  { backend.layers() } -> std::convertible_to<int>;
  backend.embed(rows);
  backend.project(layer, rows);
  backend.recur(layer, rows);
  backend.output(layer, rows);
  backend.expand(layer, rows);
  backend.contract(layer, rows);
  backend.logits(rows);
};

template <Backend B>
void forward(B& backend, const Rows& rows) {
  backend.embed(rows);
  for (int layer = 0; layer < backend.layers(); ++layer) {
    backend.project(layer, rows);
    backend.recur(layer, rows);
    backend.output(layer, rows);
    backend.expand(layer, rows);
    backend.contract(layer, rows);
  }
  backend.logits(rows);
}

}  // namespace anser
