"""Parameters and floating-point operations of each part of the model."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.models.pirt import Pirt


@dataclass(frozen=True)
class PartSummary:
    """One part's size and work."""

    name: str
    """The part's name in the model; "total" for the whole."""
    parameters: int
    """Including frozen ones."""
    flops: int
    """Of one image's forward pass in evaluation; a multiplication and an addition count as two."""


def summarise(model: Pirt, image_size: tuple[int, int], heatmap_size: tuple[int, int]) -> list[PartSummary]:
    """Count each part of `model`, and last the total, for images Hi×Wi and heatmaps Hm×Wm.

    Counted on tensors without storage: nothing is computed and `model` is not touched. What belongs to no part (part
    masks and pooling) is in the total only.
    """
    ghost = copy.deepcopy(model).to("meta").float().eval()
    images = torch.empty(1, 3, *image_size, device="meta")
    heatmaps = torch.empty(1, len(COCO_KEYPOINTS), *heatmap_size, device="meta")
    counter = FlopCounterMode(display=False)
    # Only the plain kernel is counted on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        ghost(images, heatmaps)
    counts = counter.get_flop_counts()
    parts = [
        PartSummary(name, _parameters(part), sum(counts.get(f"{type(model).__name__}.{name}", {}).values()))
        for name, part in ghost.named_children()
        if _parameters(part)
    ]
    return [*parts, PartSummary("total", _parameters(ghost), counter.get_total_flops())]


def summary_table(parts: list[PartSummary]) -> str:
    """Lay the parts out as lines of aligned text: name, millions of parameters, GFLOPs an image."""
    lines = [f"{'part':<12} {'parameters':>12} {'GFLOPs/image':>13}"]
    lines += [f"{part.name:<12} {part.parameters / 1e6:>11.3f}M {part.flops / 1e9:>13.3f}" for part in parts]
    return "\n".join(lines)


def _parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())
