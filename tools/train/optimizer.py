"""Two optimizers side by side: Muon for the matrices inside the blocks, Adam for all the rest.

Muon steps along the nearest orthogonal matrix of the momentum, so every direction of a matrix learns at one rate. On a
small budget of tokens that is worth a good part of a longer run. It does not fit tables (embedding, head), the low-rank
pairs, which start from zero and must stay gentle, and vectors: these take Adam, as in the RWKV recipe.
"""
import torch


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


class Muon:
    def __init__(self, parameters, rate, momentum=0.95, decay=0.0):
        self.rate, self.momentum, self.decay = rate, momentum, decay
        # Matrices of one shape are one batch: few large products instead of many small ones.
        self.groups = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.buffers = {shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, scale):
        rate = self.rate * scale
        for shape, ps in self.groups.items():
            gradient, buffer = torch.stack([p.grad for p in ps]), self.buffers[shape]
            buffer.lerp_(gradient, 1 - self.momentum)
            update = orthogonalized(gradient.lerp_(buffer, self.momentum)) * max(1.0, shape[0] / shape[1]) ** 0.5
            for p, u in zip(ps, update):
                p.mul_(1 - rate * self.decay).sub_(u, alpha=rate)


class Optimizers:
    def __init__(self, model, muon_rate, adam_rate, decay):
        matrices, tables, fast, rest = [], [], [], []
        for name, p in model.named_parameters():
            if name in ("emb.weight", "head.weight"):
                tables.append(p)
            elif name.endswith(".weight") and p.dim() == 2:
                matrices.append(p)
            elif name.endswith("att.w0"):
                fast.append(p)
            else:
                rest.append(p)
        self.muon = Muon(matrices, muon_rate, decay=decay)
        self.adam = torch.optim.AdamW(
            [{"params": tables, "rate": adam_rate, "weight_decay": decay},
             {"params": fast, "rate": 2 * adam_rate, "weight_decay": 0.0},
             {"params": rest, "rate": adam_rate, "weight_decay": 0.0}],
            lr=adam_rate, betas=(0.9, 0.99), eps=1e-12, fused=True)
        self.parameters = list(model.parameters())

    def step(self, scale):
        """`scale` (0 to 1) of the peak rates."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * scale
        self.adam.step()
        self.muon.step(scale)
        self.adam.zero_grad()
        return float(norm)

    def state(self):
        return {"adam": self.adam.state_dict(), "muon": self.muon.buffers}

    def restore(self, state):
        self.adam.load_state_dict(state["adam"])
        self.muon.buffers = state["muon"]
