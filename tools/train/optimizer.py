"""Two optimizers: Adam as in RWKV's own training script, and Muon for the matrices with Adam for the rest.

Both know four kinds of parameters. A wrong rate or decay for one of them costs more than a wrong rate for all:

    matrices    receptance, key, value, output of the time mix, key and value of the channel mix
    tables      emb and head
    w0          the decay of every channel; learns at twice the rate
    rest        low-rank pairs, token shifts, biases, norms: never decayed towards zero
"""
import torch

EPSILON = {"cpu": 1e-12, "cuda": 1e-18}  # far below a gradient, so that rare tokens step as far as frequent ones


def kinds(model):
    found = {"matrices": [], "tables": [], "w0": [], "rest": []}
    for name, p in model.named_parameters():
        if name in ("emb.weight", "head.weight"):
            found["tables"].append(p)
        elif name.endswith(".weight") and p.dim() == 2:
            found["matrices"].append(p)
        elif name.endswith("att.w0"):
            found["w0"].append(p)
        else:
            found["rest"].append(p)
    return found


def adam(groups, rate):
    """Of (parameters, rate in units of `rate`, weight decay)."""
    device = groups[0][0][0].device.type
    fused = {"fused": True} if hasattr(torch, "compile") else {}  # PyTorch 1 has it for CUDA only
    return torch.optim.AdamW([{"params": ps, "factor": factor, "weight_decay": decay} for ps, factor, decay in groups],
                             lr=rate, betas=(0.9, 0.99), eps=EPSILON[device], **fused)


class Adam:
    """The recipe of RWKV-7, with the rate and decay that suit a small model and many passes over its data."""

    level, floor = 0.0, 0.025  # of the time at the peak rate; of the peak rate at the end

    def __init__(self, model, rate=2e-3, decay=0.1):
        k = kinds(model)
        self.parameters, self.rate = list(model.parameters()), rate
        self.adam = adam([(k["matrices"] + k["tables"], 1, decay), (k["w0"], 2, 0.0), (k["rest"], 1, 0.0)], rate)

    def step(self, scale):
        """One step from the gradients, at `scale` (0 to 1) of the peak rates; gives the gradient's norm, clears it."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.rate * group["factor"] * scale
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return norm

    def state(self):
        return {"adam": self.adam.state_dict()}

    def restore(self, state):
        self.adam.load_state_dict(state["adam"])


def orthogonalized(G, steps=5):
    """U V^T of every matrix in G [n, rows, columns], roughly: singular values end between 0.7 and 1.2.

    Newton-Schulz iteration of degree five; the coefficients maximise its slope at zero and need not converge to 1.
    """
    tall = G.shape[-2] > G.shape[-1]
    X = G.mT if tall else G
    X = (X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        A = X @ X.mT
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return (X.mT if tall else X).float()


class Muon(Adam):
    """Matrices step along the nearest orthogonal matrix of their momentum, so every direction of one learns at one rate.

    It does not fit tables, the low-rank pairs, which start from zero and must stay gentle, and vectors: these take Adam.
    """

    level, floor = 0.4, 0.02

    def __init__(self, model, rate=0.02, decay=0.05, adam_share=0.15, momentum=0.95):
        k = kinds(model)
        adam_rate = adam_share * rate
        self.parameters, self.rate = list(model.parameters()), adam_rate
        self.muon_rate, self.decay, self.momentum = rate, decay, momentum
        self.adam = adam([(k["tables"], 1, decay), (k["w0"], 2, 0.0), (k["rest"], 1, 0.0)], adam_rate)
        # Matrices of one shape are one batch: few large products instead of many small ones.
        self.groups = {}
        for p in k["matrices"]:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.buffers = {shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, scale):
        norm = super().step(scale)  # clips all gradients, and steps what Adam takes
        rate = self.muon_rate * scale
        for shape, ps in self.groups.items():
            gradient, buffer = torch.stack([p.grad for p in ps]), self.buffers[shape]
            buffer.lerp_(gradient, 1 - self.momentum)
            update = orthogonalized(gradient.lerp_(buffer, self.momentum)) * max(1.0, shape[0] / shape[1]) ** 0.5
            for p, u in zip(ps, update):
                p.mul_(1 - rate * self.decay).sub_(u, alpha=rate)
                p.grad = None
        return norm

    def state(self):
        return {**super().state(), "muon": self.buffers}

    def restore(self, state):
        super().restore(state)
        self.buffers = state["muon"]


CHOICES = {"adam": Adam, "muon": Muon}
