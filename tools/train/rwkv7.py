"""RWKV-7 in PyTorch, with the parameter names of the original checkpoints.

Two forms of the recurrence: over chunks, for training, and step by step, which is the definition and checks the other.
Per head of N = 64 channels the state S is N x N, row = value, column = key, and for each token

    S <- S diag(w) + (S a^T) b + v^T k        y = S r^T

with decay w in (0.545, 1), removal key a = -kappa, b = kappa * rate, replacement key k and value v.
Model(..., erase=False) sets a = b = 0, which leaves a state that is only decayed and added to; see delta_rule.py.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

HEAD = 64
CHUNK = 16
LAMBDA = 0.606531  # e^-0.5: the decay is exp(-LAMBDA * sigmoid(z))
GROUP_NORM_EPS = 64e-5


def wkv_steps(r, logw, k, v, a, b):
    """The recurrence as defined; all [B, T, H, N] -> y [B, T, H, N]."""
    B, T, H, N = r.shape
    S = r.new_zeros(B, H, N, N)
    w, y = logw.exp(), []
    for t in range(T):
        u = (S @ a[:, t].unsqueeze(-1)).squeeze(-1)
        S = (S * w[:, t].unsqueeze(-2) + u.unsqueeze(-1) * b[:, t].unsqueeze(-2)
             + v[:, t].unsqueeze(-1) * k[:, t].unsqueeze(-2))
        y.append((S @ r[:, t].unsqueeze(-1)).squeeze(-1))
    return torch.stack(y, 1)


def wkv_chunked(r, logw, k, v, a, b):
    with torch.autocast(r.device.type, enabled=False):  # which would round the products below
        return _wkv_chunked(r, logw, k, v, a, b)


def _wkv_chunked(r, logw, k, v, a, b):
    """The same over chunks of Q = 16 tokens, in matrix products; only the state between chunks is sequential.

    With c the running sum of log w in a chunk, queries are scaled by e^c and keys by e^-c, so that a product of both
    carries the decay between two tokens. e^-c stays below e^(0.6065 * 16) = 1.6e4: safe in float32 at 16, not at 32.
    u = S a^T of every token of the chunk solves (I - A_ab) U = a~ S0^T + A_ak V. So U, and with it the state behind the
    chunk, is linear in the state S0 before it: S1 = S0 P + K, one product a chunk.
    """
    B, T, H, N = r.shape
    Q, C = CHUNK, T // CHUNK
    # [C, B H, Q, N]: what a chunk takes lies together.
    r, logw, k, v, a, b = (x.view(B, C, Q, H, N).permute(1, 0, 3, 2, 4).reshape(C, B * H, Q, N)
                           for x in (r, logw, k, v, a, b))
    c = logw.cumsum(-2)
    end = c[..., -1:, :].exp()
    r, a = r * c.exp(), a * (c - logw).exp()
    back = (-c).exp()
    k, b = k * back, b * back

    A_ab = (a @ b.mT).tril(-1)
    A_ak = (a @ k.mT).tril(-1)
    A_rk = (r @ k.mT).tril()
    A_rb = (r @ b.mT).tril()
    # (I - A)^-1 = (I + A)(I + A^2)(I + A^4)(I + A^8), exact because A^16 = 0
    one = torch.eye(Q, dtype=r.dtype, device=r.device)
    A2 = A_ab @ A_ab
    A4 = A2 @ A2
    M = (one + A_ab) @ (one + A2) @ (one + A4) @ (one + A4 @ A4)
    Ma, Mv = M @ a, M @ (A_ak @ v)  # U = Ma S0^T + Mv

    k, b = k * end, b * end
    P = torch.diag_embed(end.squeeze(-2)) + Ma.mT @ b
    K = v.mT @ k + Mv.mT @ b
    S, before = r.new_zeros(B * H, N, N), []
    for P_chunk, K_chunk in zip(P.unbind(), K.unbind()):
        before.append(S)
        S = torch.baddbmm(K_chunk, S, P_chunk)
    y = (r + A_rb @ Ma) @ torch.stack(before).mT + A_rk @ v + A_rb @ Mv
    return y.view(C, B, H, Q, N).permute(1, 0, 3, 2, 4).reshape(B, T, H, N)


def shifted(x):
    """Each row's previous token; zeros before the first."""
    return F.pad(x, (0, 0, 1, -1))


def head_ramp(D):
    """linear: -0.5 to 0.5 over all channels; zigzag: -1 to 1, squared with its sign, over each head."""
    i = torch.arange(D, dtype=torch.float32)
    s = (i % HEAD - (HEAD - 1) / 2) / ((HEAD - 1) / 2)
    return i / (D - 1) - 0.5, s * s.abs()


def orthogonal(rows, columns, gain):
    return nn.init.orthogonal_(torch.empty(rows, columns), gain=gain)


def linear(inputs, outputs, gain):
    """Matrix without bias; gain 0 means zeros, else orthogonal with the usual enlargement of tall matrices."""
    m = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        if gain:
            m.weight.copy_(orthogonal(outputs, inputs, gain * max(1.0, (outputs / inputs) ** 0.5)))
        else:
            m.weight.zero_()
    return m


class TimeMix(nn.Module):
    wkv = staticmethod(wkv_chunked)

    def __init__(self, D, layer, layers, ranks, erase=True):
        super().__init__()
        self.first, self.erase = layer == 0, erase
        p = (torch.arange(D, dtype=torch.float32) / D).view(1, 1, D)
        q, z = 1 - layer / layers, layer / max(1, layers - 1)
        ramp, zigzag = (x.view(1, 1, D) for x in head_ramp(D))
        for name, power in (("r", 0.2), ("w", 0.9), ("k", 0.7), ("v", 0.7), ("a", 0.9), ("g", 0.2)):
            setattr(self, f"x_{name}", nn.Parameter(1 - p ** (power * q)))
        start = {"w": -6 + 6 * (ramp + 0.5) ** (1 + z ** 0.3) + 0.5 + 2.5 * zigzag,
                 "a": -0.19 + 0.3 * zigzag + 0.4 * ramp,
                 "v": 0.73 - 0.4 * ramp}
        for name, rank in ranks.items():
            if name == "v" and self.first:
                continue
            if name != "g":
                setattr(self, f"{name}0", nn.Parameter(start[name]))
            setattr(self, f"{name}1", nn.Parameter(torch.zeros(D, rank)))
            setattr(self, f"{name}2", nn.Parameter(orthogonal(rank, D, 0.1 * max(1.0, (rank / D) ** 0.5))))
        self.k_k = nn.Parameter(0.71 - 0.1 * ramp)
        self.k_a = nn.Parameter(torch.full((1, 1, D), 1.02))
        self.r_k = nn.Parameter(torch.full((D // HEAD, HEAD), -0.04))
        self.receptance = linear(D, D, 1.0)
        self.key = linear(D, D, 0.1)
        self.value = linear(D, D, 1.0)
        self.output = linear(D, D, 0)
        self.ln_x = nn.GroupNorm(D // HEAD, D, eps=GROUP_NORM_EPS)
        with torch.no_grad():
            self.ln_x.weight.fill_(((1 + layer) / layers) ** 0.7)

    def forward(self, x, v_first):
        B, T, D = x.shape
        H = D // HEAD
        delta = shifted(x) - x
        r = self.receptance(x + delta * self.x_r).float()
        k = self.key(x + delta * self.x_k).float()
        xv = x + delta * self.x_v
        v = self.value(xv).float()
        z = self.w0 + torch.tanh((x + delta * self.x_w) @ self.w1) @ self.w2
        logw = -LAMBDA * torch.sigmoid(z.float())
        rate = torch.sigmoid((self.a0 + (x + delta * self.x_a) @ self.a1 @ self.a2).float())
        gate = torch.sigmoid((x + delta * self.x_g) @ self.g1) @ self.g2
        if self.first:
            v_first = v
        else:
            v = v + (v_first - v) * torch.sigmoid((self.v0 + xv @ self.v1 @ self.v2).float())
        kappa = F.normalize((k * self.k_k).view(B, T, H, HEAD), dim=-1)
        if not self.erase:
            kappa = torch.zeros_like(kappa)
        k = k * (1 + (rate - 1) * self.k_a)
        r, logw, k, v_heads, rate = (t.reshape(B, T, H, HEAD) for t in (r, logw, k, v, rate))
        y = self.wkv(r, logw, k, v_heads, -kappa, kappa * rate)
        # Group norm of every head, written out because tokens, not only rows, are the samples here.
        y = y - y.mean(-1, keepdim=True)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + GROUP_NORM_EPS)
        y = y.reshape(B, T, D) * self.ln_x.weight + self.ln_x.bias
        bonus = (r * k * self.r_k).sum(-1, keepdim=True) * v_heads
        return self.output((y + bonus.reshape(B, T, D)) * gate.float()), v_first


class ChannelMix(nn.Module):
    def __init__(self, D, layer, layers):
        super().__init__()
        p = (torch.arange(D, dtype=torch.float32) / D).view(1, 1, D)
        self.x_k = nn.Parameter(1 - p ** ((1 - layer / layers) ** 4))
        self.key = linear(D, 4 * D, 1.0)
        self.value = linear(4 * D, D, 0)

    def forward(self, x):
        return self.value(torch.relu(self.key(x + (shifted(x) - x) * self.x_k)).square())


class Block(nn.Module):
    def __init__(self, D, layer, layers, ranks, erase=True, dropout=0.0):
        super().__init__()
        self.dropout = dropout
        if layer == 0:
            self.ln0 = nn.LayerNorm(D)
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.att = TimeMix(D, layer, layers, ranks, erase)
        self.ffn = ChannelMix(D, layer, layers)

    def forward(self, x, v_first):
        if self.att.first:
            x = self.ln0(x)
        y, v_first = self.att(self.ln1(x), v_first)
        x = x + F.dropout(y, self.dropout, self.training)
        return x + F.dropout(self.ffn(self.ln2(x)), self.dropout, self.training), v_first


class Model(nn.Module):
    def __init__(self, vocab, layers, D, ranks, erase=True, dropout=0.0):
        super().__init__()
        self.shape = {"vocab": vocab, "layers": layers, "D": D, "ranks": ranks}
        self.emb = nn.Embedding(vocab, D)
        self.blocks = nn.ModuleList(Block(D, i, layers, ranks, erase, dropout) for i in range(layers))
        self.ln_out = nn.LayerNorm(D)
        self.head = nn.Linear(D, vocab, bias=False)
        with torch.no_grad():
            self.emb.weight.uniform_(-1e-4, 1e-4)
            self.head.weight.copy_(orthogonal(vocab, D, 0.5 * max(1.0, (vocab / D) ** 0.5)))

    def trunk(self, tokens):
        x, v_first = self.emb(tokens), None
        for block in self.blocks:
            x, v_first = block(x, v_first)
        return x

    def logits(self, x):
        return self.head(self.ln_out(x))

    def cross_entropy(self, x, targets):
        return F.cross_entropy(self.logits(x).float().flatten(0, 1), targets.flatten())

    def forward(self, tokens):
        return self.logits(self.trunk(tokens))

    def loss(self, tokens, targets):
        """Mean nats a token."""
        return self.cross_entropy(self.trunk(tokens), targets)


class Stepper:
    """One token at a time from plain tensors by checkpoint name: what the definition says, nothing fused.

    It is the reference for the chunked form and, in float64, for the engine's golden vectors. With `rows`, so many texts at a
    time: tokens are a tensor [rows], logits [rows, vocab].
    """

    def __init__(self, weights, dtype=torch.float64, rows=None):
        self.w = {name: t.detach().to(dtype) for name, t in weights.items()}
        self.layers = 1 + max(int(n.split(".")[1]) for n in self.w if n.startswith("blocks."))
        self.D = self.w["emb.weight"].shape[1]
        batch, device = () if rows is None else (rows,), self.w["emb.weight"].device
        zeros = lambda *shape: torch.zeros(*batch, *shape, dtype=dtype, device=device)
        H = self.D // HEAD
        self.state = [{"att": zeros(self.D), "S": zeros(H, HEAD, HEAD), "ffn": zeros(self.D)}
                      for _ in range(self.layers)]

    def norm(self, x, name):
        return F.layer_norm(x, (self.D,), self.w[name + ".weight"], self.w[name + ".bias"], 1e-5)

    def time_mix(self, x, l, v_first):
        p = lambda name: self.w[f"blocks.{l}.att.{name}"].squeeze()
        state, H = self.state[l], self.D // HEAD
        mix = lambda c: x + (state["att"] - x) * p("x_" + c)
        r = F.linear(mix("r"), p("receptance.weight"))
        k = F.linear(mix("k"), p("key.weight"))
        v = F.linear(mix("v"), p("value.weight"))
        w = torch.exp(-LAMBDA * torch.sigmoid(p("w0") + torch.tanh(mix("w") @ p("w1")) @ p("w2")))
        rate = torch.sigmoid(p("a0") + mix("a") @ p("a1") @ p("a2"))
        gate = torch.sigmoid(mix("g") @ p("g1")) @ p("g2")
        if l == 0:
            v_first = v
        else:
            v = v + (v_first - v) * torch.sigmoid(p("v0") + mix("v") @ p("v1") @ p("v2"))
        state["att"] = x
        heads = lambda t: t.unflatten(-1, (H, HEAD))
        kappa = F.normalize(heads(k * p("k_k")), dim=-1)
        k = k * (1 + (rate - 1) * p("k_a"))
        r, w, k, v, rate = (heads(t) for t in (r, w, k, v, rate))
        outer = lambda i, j: i.unsqueeze(-1) * j.unsqueeze(-2)
        u = (state["S"] @ -kappa.unsqueeze(-1)).squeeze(-1)
        state["S"] = state["S"] * w.unsqueeze(-2) + outer(u, kappa * rate) + outer(v, k)
        y = (state["S"] @ r.unsqueeze(-1)).view(-1, self.D)
        y = F.group_norm(y, H, p("ln_x.weight"), p("ln_x.bias"), GROUP_NORM_EPS).view(v.shape)
        y = y + (r * k * p("r_k").view(H, HEAD)).sum(-1, keepdim=True) * v
        return F.linear(y.flatten(-2) * gate, p("output.weight")), v_first

    def channel_mix(self, x, l):
        p = lambda name: self.w[f"blocks.{l}.ffn.{name}"].squeeze()
        mixed = x + (self.state[l]["ffn"] - x) * p("x_k")
        self.state[l]["ffn"] = x
        return F.linear(torch.relu(F.linear(mixed, p("key.weight"))).square(), p("value.weight"))

    def __call__(self, token):
        """Logits after one more token."""
        x, v_first = self.norm(self.w["emb.weight"][token], "blocks.0.ln0"), None
        for l in range(self.layers):
            y, v_first = self.time_mix(self.norm(x, f"blocks.{l}.ln1"), l, v_first)
            x = x + y
            x = x + self.channel_mix(self.norm(x, f"blocks.{l}.ln2"), l)
        return F.linear(self.norm(x, "ln_out"), self.w["head.weight"])


def check():
    """Both forms of the recurrence, and the whole model against the step form."""
    torch.manual_seed(1)
    B, T, H = 2, 64, 2
    normal = lambda: torch.randn(B, T, H, HEAD, dtype=torch.float64)
    kappa = F.normalize(normal(), dim=-1)
    inputs = [normal(), -LAMBDA * torch.sigmoid(2 * normal()), normal(), normal(), -kappa, kappa * normal().sigmoid()]
    worst = (wkv_steps(*inputs) - wkv_chunked(*inputs)).abs().max().item()
    inputs = [x.float() for x in inputs]
    worst32 = (wkv_steps(*inputs) - wkv_chunked(*inputs)).abs().max().item()
    print(f"recurrence, chunks against steps: {worst:.1e} in float64, {worst32:.1e} in float32")
    assert worst < 1e-12 and worst32 < 1e-3

    model = Model(300, 3, 128, {"w": 16, "a": 16, "v": 16, "g": 32})
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    tokens = torch.randint(300, (1, 48))
    whole = model(tokens)[0].double()
    stepper = Stepper(dict(model.named_parameters()))
    worst = max((stepper(t) - whole[i]).abs().max().item() for i, t in enumerate(tokens[0].tolist()))
    print(f"model, chunks in float32 against steps in float64: {worst:.1e} at logits of {whole.abs().max():.1f}")
    assert worst < 1e-4


if __name__ == "__main__":
    check()
