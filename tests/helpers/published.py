"""Random weights in published names and shapes, by rule, and forward passes read off these names."""

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> State:
    chance = torch.Generator().manual_seed(seed)
    state = {name: 0.08 * torch.randn(shape, generator=chance) for name, shape in shapes.items()}
    return {
        name: value + 1 if ".norm" in f".{name}" and name.endswith("weight") else value for name, value in state.items()
    }


def _linear(name: str, fed: int, out: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, fed)} | ({f"{name}.bias": (out,)} if bias else {})


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _block(name: str, C: int) -> dict[str, tuple[int, ...]]:
    return {
        **_norm(f"{name}.norm1", C),
        **_linear(f"{name}.attn.qkv", C, 3 * C),
        **_linear(f"{name}.attn.proj", C, C),
        **_norm(f"{name}.norm2", C),
        **_linear(f"{name}.mlp.fc1", C, 4 * C),
        **_linear(f"{name}.mlp.fc2", 4 * C, C),
    }


def vit_state(C: int, depth: int, positions: int, seed: int = 0, patch: int = 16, fed: int = 3) -> State:
    """timm's, DINO's and TransReID-SSL's names, without heads."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, C),
        "pos_embed": (1, 1 + positions, C),
        "patch_embed.proj.weight": (C, fed, patch, patch),
        "patch_embed.proj.bias": (C,),
    }
    for block in range(depth):
        shapes |= _block(f"blocks.{block}", C)
    return _drawn(shapes | _norm("norm", C), seed)


def conv_stem_state(seed: int = 1) -> State:
    """TransReID-SSL's convolutions before the patches."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv, (fed, kernel) in {0: (3, 7), 3: (64, 3), 6: (64, 3)}.items():
        shapes[f"patch_embed.conv.{conv}.weight"] = (64, fed, kernel, kernel)
    for norm in (1, 4):
        shapes |= _norm(f"patch_embed.conv.{norm}.IN", 32) | _norm(f"patch_embed.conv.{norm}.BN", 32)
    shapes |= _norm("patch_embed.conv.7", 64)
    state = _drawn(shapes, seed)
    for name, channels in (("1.BN", 32), ("4.BN", 32), ("7", 64)):
        state[f"patch_embed.conv.{name}.running_mean"] = torch.randn(channels)
        state[f"patch_embed.conv.{name}.running_var"] = 0.5 + torch.rand(channels)
        state[f"patch_embed.conv.{name}.num_batches_tracked"] = torch.tensor(7)
    return state


def swin_state(width: int, heads: int, depths: tuple[int, ...], window: int = 7, seed: int = 0) -> State:
    """Microsoft's names, without heads."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (width, 3, 4, 4),
        "patch_embed.proj.bias": (width,),
        **_norm("patch_embed.norm", width),
    }
    for stage, depth in enumerate(depths):
        C = width << stage
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            shapes |= _block(name, C)
            shapes[f"{name}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads << stage)
        if stage < 3:
            shapes |= _norm(f"layers.{stage}.downsample.norm", 4 * C)
            shapes |= _linear(f"layers.{stage}.downsample.reduction", 4 * C, 2 * C, bias=False)
    return _drawn(shapes | _norm("norm", width << 3), seed)


def in_soliders_names(state: State, width: int, seed: int = 2) -> State:
    """Translate Microsoft's names and the order of merged tokens, and add what SOLIDER's networks have more."""
    theirs = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "layers":
            parts[0] = "stages"
            if "attn" in parts:
                parts.insert(parts.index("attn") + 1, "w_msa")
            if "mlp" in parts:
                at = parts.index("mlp")
                parts[at : at + 2] = ["ffn", "layers", *({"fc1": ["0", "0"], "fc2": ["1"]}[parts[at + 1]])]
            if "downsample" in parts:
                # Four blocks of C, column by column -> C blocks of four, row by row.
                blocks = value.reshape(*value.shape[:-1], 4, -1)[..., [0, 2, 1, 3], :]
                value = blocks.transpose(-1, -2).reshape(value.shape)
        theirs[".".join(parts).replace("patch_embed.proj.", "patch_embed.projection.")] = value
    theirs["norm3.weight"], theirs["norm3.bias"] = theirs.pop("norm.weight"), theirs.pop("norm.bias")
    more: dict[str, tuple[int, ...]] = {}
    for stage in range(3):
        more |= _norm(f"norm{stage}", width << stage)
    for stage in range(4):
        for kind in "wb":
            more |= _linear(f"semantic_embed_{kind}.{stage}", 2, width << min(stage + 1, 3))
    for name in [name for name in theirs if name.endswith("relative_position_bias_table")]:
        theirs[name.replace("bias_table", "index")] = torch.zeros(49, 49, dtype=torch.long)
    return theirs | _drawn(more, seed)


def _affine(state: State, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def _normed(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    deviation = ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / (deviation + eps).sqrt() * weight + bias


def _attended(state: State, name: str, tokens: Tensor, heads: int, added: Tensor | float) -> Tensor:
    """T×C -> T×C, a head at a time; `added` (heads×T×T) to the scores."""
    C = tokens.shape[-1]
    query, key, value = _affine(state, f"{name}.qkv", tokens).split(C, dim=-1)
    d, outputs = C // heads, []
    for head in range(heads):
        of = slice(head * d, (head + 1) * d)
        scores = query[:, of] @ key[:, of].T / d**0.5 + (added if isinstance(added, float) else added[head])
        outputs.append(scores.softmax(-1) @ value[:, of])
    return _affine(state, f"{name}.proj", torch.cat(outputs, dim=-1))


def _fed_forward(state: State, name: str, x: Tensor) -> Tensor:
    hidden = _affine(state, f"{name}.fc1", x)
    return _affine(state, f"{name}.fc2", hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)))


def plain_vit(state: State, images: Tensor, heads: int, stride: int = 16) -> Tensor:
    """B×C×H×W, an image and a head at a time."""
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    features = []
    for image in images:
        grid = functional.conv2d(image[None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride)
        x = torch.cat([state["cls_token"][0], grid[0].flatten(1).T]) + state["pos_embed"][0]
        for block in range(depth):
            name = f"blocks.{block}"
            x = x + _attended(state, f"{name}.attn", _normed(state, f"{name}.norm1", x, 1e-6), heads, 0.0)
            x = x + _fed_forward(state, f"{name}.mlp", _normed(state, f"{name}.norm2", x, 1e-6))
        features.append(_normed(state, "norm", x, 1e-6)[1:].T.reshape(-1, *grid.shape[2:]))
    return torch.stack(features)


def _windowed(state: State, name: str, x: Tensor, heads: int, window: int, shift: int) -> Tensor:
    """H×W×C -> H×W×C, a window at a time, each gathered from where the shift takes its cells from."""
    H, W, C = x.shape
    rows, columns = -(-H // window) * window, -(-W // window) * window
    padded = torch.zeros(rows, columns, C)
    padded[:H, :W] = x
    out, table = torch.zeros_like(padded), state[f"{name}.relative_position_bias_table"]
    for top in range(0, rows, window):
        for left in range(0, columns, window):
            cells = [(top + i + shift, left + j + shift) for i in range(window) for j in range(window)]
            at = [(r % rows, c % columns) for r, c in cells]
            added = torch.empty(heads, len(cells), len(cells))
            for a, (r, c) in enumerate(cells):
                for b, (u, v) in enumerate(cells):
                    # A cell that comes from beyond the edge sees only its own kind.
                    same = (r >= rows, c >= columns) == (u >= rows, v >= columns)
                    place = (r - u + window - 1) * (2 * window - 1) + c - v + window - 1
                    added[:, a, b] = table[place] + (0 if same else -100)
            tokens = torch.stack([padded[r, c] for r, c in at])
            for (r, c), value in zip(at, _attended(state, name, tokens, heads, added), strict=True):
                out[r, c] = value
    return out[:H, :W]


def plain_swin(
    state: State, images: Tensor, heads: int, window: int = 7, semantic_weight: float | None = None
) -> Tensor:
    """B×C×H×W from Microsoft's names and SOLIDER's semantic layers, an image, a window and a head at a time."""
    features = []
    for image in images:
        grid = functional.conv2d(image[None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], 4)
        x = _normed(state, "patch_embed.norm", grid[0].permute(1, 2, 0), 1e-5)
        for stage in range(4):
            block = 0
            while f"layers.{stage}.blocks.{block}.norm1.weight" in state:
                name, shift = f"layers.{stage}.blocks.{block}", window // 2 if block % 2 else 0
                normed = _normed(state, f"{name}.norm1", x, 1e-5)
                x = x + _windowed(state, f"{name}.attn", normed, heads << stage, window, shift)
                x = x + _fed_forward(state, f"{name}.mlp", _normed(state, f"{name}.norm2", x, 1e-5))
                block += 1
            if stage < 3:
                joined = torch.cat([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], dim=-1)
                name = f"layers.{stage}.downsample"
                x = _affine(state, f"{name}.reduction", _normed(state, f"{name}.norm", joined, 1e-5))
                if semantic_weight is not None:
                    share = torch.tensor([semantic_weight, 1 - semantic_weight])
                    scale = _affine(state, f"semantic_embed_w.{stage}", share)
                    x = x * (1 + scale.exp()).log() + _affine(state, f"semantic_embed_b.{stage}", share)
        features.append(_normed(state, "norm", x, 1e-5).permute(2, 0, 1))
    return torch.stack(features)
