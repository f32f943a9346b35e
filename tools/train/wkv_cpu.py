"""The recurrence by a compiled operator: same inputs and result as rwkv7.wkv_chunked, several times faster on a CPU.

Needs a C++ compiler; the first import builds it. Run this file to check it against the plain form.
"""
import os

import torch
from torch import Tensor
from torch.utils import cpp_extension

_built = cpp_extension.load(
    name="anser_wkv_cpu",
    sources=[os.path.join(os.path.dirname(os.path.abspath(__file__)), "wkv_cpu.cpp")],
    # Without -fopenmp at::parallel_for runs on one thread and does not say so.
    extra_cflags=["-O3", "-march=native", "-ffast-math", "-fopenmp", "-std=c++20"], extra_ldflags=["-fopenmp"])


@torch.library.custom_op("anser::wkv", mutates_args=())
def _forward(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(_built.forward(*(x.contiguous() for x in (r, w, k, v, a, b))))


@_forward.register_fake
def _(r, w, k, v, a, b):
    B, T, H, N = r.shape
    return r.new_empty(r.shape), r.new_empty(r.shape), r.new_empty(B * H, T // 16, N, N)


@torch.library.custom_op("anser::wkv_gradient", mutates_args=())
def _backward(dy: Tensor, u: Tensor, saved: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor,
              b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return tuple(_built.backward(*(x.contiguous() for x in (dy, u, saved, r, w, k, v, a, b))))


@_backward.register_fake
def _(dy, u, saved, r, w, k, v, a, b):
    return tuple(r.new_empty(r.shape) for _ in range(6))


def _save(ctx, inputs, output):
    ctx.save_for_backward(*output[1:], *inputs)


def _gradient(ctx, dy, _u, _saved):
    return torch.ops.anser.wkv_gradient(dy, *ctx.saved_tensors)


torch.library.register_autograd("anser::wkv", _gradient, setup_context=_save)


def wkv(r, logw, k, v, a, b):
    return torch.ops.anser.wkv(r, logw.exp(), k, v, a, b)[0]


def check():
    import rwkv7

    torch.manual_seed(1)
    shape = 3, 64, 2, rwkv7.HEAD
    kappa = torch.nn.functional.normalize(torch.randn(shape), dim=-1)
    inputs = [torch.randn(shape), -rwkv7.LAMBDA * torch.sigmoid(2 * torch.randn(shape)), torch.randn(shape),
              torch.randn(shape), -kappa, kappa * torch.randn(shape).sigmoid()]
    weight = torch.randn(shape)

    def run(form, dtype):
        leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
        y = form(*leaves)
        (y * weight.to(dtype)).sum().backward()
        return [y.detach()] + [x.grad for x in leaves]

    for name, fast, exact in zip(("y", "r", "logw", "k", "v", "a", "b"), run(wkv, torch.float32),
                                 run(rwkv7.wkv_chunked, torch.float64)):
        error = ((fast - exact).abs().max() / exact.abs().max()).item()
        print(f"{name:>5}: relative error {error:.1e}")
        assert error < 1e-5


if __name__ == "__main__":
    check()
