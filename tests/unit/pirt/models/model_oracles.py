"""The paper's equations again, written for reading: loops over images, cells, stripes, heads, tokens and groups.

Nothing here calls a layer. Weights are read off the modules under test.
"""

import math

import torch
from torch import Tensor, nn

from pirt.models.attention import SelfAttention
from pirt.models.inter_part import InterPart, TransformerUnit
from pirt.models.intra_part import IntraPart
from pirt.models.pirt import Pirt
from pirt.models.resnet_ibn import IBN

SMALL = {
    "backbone": "resnet18_ibn_a",
    "width": 4,
    "strides": (1, 2, 1, 1),
    "bottleneck": 8,
    "intra_heads": 2,
    "inter_heads": 4,
    "feedforward": 12,
    "confidence_hidden": 6,
}
TABLE_3 = {
    "baseline": {"parts": False, "intra": False, "inter_layers": 0},
    "P": {"parts": True, "intra": False, "inter_layers": 0},
    "P+Intra": {"parts": True, "intra": True, "inter_layers": 0},
    "P+Intra+Inter": {"parts": True, "intra": True, "inter_layers": 3},
}


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight and running statistic a random value, in float64, so that none hides behind a 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point():
                continue
            drawn = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            value.copy_(drawn + 0.5 if name.endswith("running_var") else (drawn - 0.5) / 2 + norm_weight(name))
    return module


def norm_weight(name: str) -> float:
    return 1.0 if "norm" in name and name.endswith("weight") else 0.0


def batch_norm(x: Tensor, bn: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """x: N×C×cells."""
    out = torch.empty_like(x)
    for c in range(x.shape[1]):
        if bn.training:
            mean, var = x[:, c].mean(), x[:, c].var(unbiased=False)
        else:
            mean, var = bn.running_mean[c], bn.running_var[c]
        out[:, c] = (x[:, c] - mean) / (var + bn.eps).sqrt() * bn.weight[c] + bn.bias[c]
    return out


def ibn(x: Tensor, norm: IBN) -> Tensor:
    """x: N×C×cells."""
    half = x.shape[1] // 2
    out = torch.empty_like(x)
    for n in range(len(x)):
        for c in range(half):
            mean, var = x[n, c].mean(), x[n, c].var(unbiased=False)
            out[n, c] = (x[n, c] - mean) / (var + norm.IN.eps).sqrt() * norm.IN.weight[c] + norm.IN.bias[c]
    out[:, half:] = batch_norm(x[:, half:], norm.BN)
    return out


def pointwise_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """x: N×C×cells."""
    out = x.new_empty(len(x), conv.out_channels, x.shape[2])
    for n in range(len(x)):
        for cell in range(x.shape[2]):
            out[n, :, cell] = conv.weight[:, :, 0, 0] @ x[n, :, cell] + conv.bias
    return out


def attention(x: Tensor, module: SelfAttention) -> Tensor:
    """Eqs. 6 and 7 for one sequence x: T×D."""
    T, D = x.shape
    d_k = D // module.heads
    query, key, value = module.qkv.weight.split(D)
    biases = module.qkv.bias.split(D) if module.qkv.bias is not None else [torch.zeros(D).to(x)] * 3
    heads = []
    for i in range(module.heads):
        rows = slice(i * d_k, (i + 1) * d_k)
        q, k, v = (x @ w[rows].T + b[rows] for w, b in zip((query, key, value), biases, strict=True))
        out = x.new_zeros(T, d_k)
        for t in range(T):
            scores = [math.exp((q[t] @ k[u]).item() / math.sqrt(d_k)) for u in range(T)]
            for u in range(T):
                out[t] += scores[u] / sum(scores) * v[u]
        heads.append(out)
    joined = torch.cat(heads, dim=1)
    if isinstance(module.projection, nn.Identity):
        return joined
    joined = joined @ module.projection.weight.T
    return joined if module.projection.bias is None else joined + module.projection.bias


def intra_part(features: Tensor, mask: Tensor, module: IntraPart) -> Tensor:
    """Eqs. 4 to 8 without dropout."""
    B, C, H, W = features.shape
    encoded = ibn(pointwise_conv(features.flatten(2), module.encode[0]), module.encode[1]).clamp_min(0)
    encoded = encoded.view(B, -1, H, W)
    related = torch.empty_like(encoded)
    for b in range(B):
        for y in range(H):
            stripe = encoded[b, :, y, :].T
            related[b, :, y, :] = (attention(stripe, module.attention) + stripe).T
    related = batch_norm(related.flatten(2), module.norm).clamp_min(0)
    decoded = batch_norm(pointwise_conv(related, module.decode[0]), module.decode[1]).view(B, C, H, W)
    out = torch.empty_like(features)
    for b in range(B):
        for y in range(H):
            for x in range(W):
                out[b, :, y, x] = (decoded[b, :, y, x] + mask[b, 0, y, x] * features[b, :, y, x]).clamp_min(0)
    return out


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    rows = [(row - row.mean()) / (row.var(unbiased=False) + norm.eps).sqrt() for row in x]
    return torch.stack(rows) * norm.weight + norm.bias


def transformer_unit(x: Tensor, unit: TransformerUnit) -> Tensor:
    """Eqs. 9 to 11 for one sequence x: T×C, without dropout."""
    first, last = unit.feedforward[0], unit.feedforward[3]
    x = layer_norm(x + attention(x, unit.attention), unit.norm1)
    hidden = (x @ first.weight.T + first.bias).clamp_min(0)
    return layer_norm(x + hidden @ last.weight.T + last.bias, unit.norm2)


def inter_part(x: Tensor, module: InterPart | None) -> Tensor:
    """Eq. 12 for one sequence x: T×C; without a transformer the mean of the tokens."""
    for unit in module.units if module is not None else ():
        x = transformer_unit(x, unit)
    return sum(x) / len(x)


def windows(length: int, parts: int) -> list[slice]:
    """The cells of each of `parts` windows; where they do not divide the length, neighbours share a cell."""
    return [slice(math.floor(part * length / parts), math.ceil((part + 1) * length / parts)) for part in range(parts)]


def pooled_heatmaps(heatmaps: Tensor, H: int, W: int) -> Tensor:
    """Eq. 1 for grids of any size, finer ones too."""
    B, K, Hm, Wm = heatmaps.shape
    out = heatmaps.new_empty(B, K, H, W)
    for y, rows in enumerate(windows(Hm, H)):
        for x, columns in enumerate(windows(Wm, W)):
            out[:, :, y, x] = heatmaps[:, :, rows, columns].flatten(2).max(dim=2).values
    return out


def group_features(model: Pirt, features: Tensor, pooled: Tensor, groups: list[list[int]]) -> Tensor:
    """Eqs. 3 and 12, each group on its own and without padding: B×G×C."""
    B, C, H, W = features.shape
    out = features.new_empty(B, len(groups), C)
    for b in range(B):
        for g, group in enumerate(groups):
            tokens = []
            for k in group:
                seen = [features[b, :, y, x] for y in range(H) for x in range(W) if pooled[b, k, y, x] > model.tau]
                tokens.append(sum(seen, start=torch.zeros(C).to(features)) / (H * W))
            out[b, g] = inter_part(torch.stack(tokens), model.inter)
    return out


def confidences(model: Pirt, f_pose: Tensor, pooled: Tensor, groups: list[list[int]]) -> Tensor:
    """Eq. 13 and norm(·) of eq. 14: B×G."""
    first, last = model.confidence.mlp[0], model.confidence.mlp[2]
    out = f_pose.new_empty(f_pose.shape[:2])
    for b in range(len(f_pose)):
        trusted = []
        for g, group in enumerate(groups):
            hidden = (first.weight @ f_pose[b, g] + first.bias).clamp_min(0)
            self_score = 1 / (1 + math.exp(-(last.weight[0] @ hidden + last.bias[0]).item()))
            trusted.append(self_score * max(pooled[b, k].max().item() for k in group))
        total = sum(trusted)
        shares = [t / total if total > 0 else 1 / len(groups) for t in trusted]
        out[b] = torch.tensor(shares, dtype=out.dtype)
    return out


def global_features(model: Pirt, features: Tensor) -> Tensor:
    """B×C×H×W to B×S×C in the order of `global_names`."""
    B, _, H, W = features.shape
    rows = []
    for b in range(B):
        if model.inter is None:
            cells = [features[b, :, y, x] for y in range(H) for x in range(W)]
            rows.append(torch.stack([sum(cells) / len(cells)]))
            continue
        stripes = [features[b, :, y].mean(dim=1) for y in range(H)]
        patches = [
            features[b, :, rows, columns].flatten(1).max(dim=1).values
            for rows in windows(H, H // 4 or 1)
            for columns in windows(W, W // 2 or 1)
        ]
        rows.append(torch.stack([inter_part(torch.stack(t), model.inter) for t in (stripes, patches)]))
    return torch.stack(rows)
