"""What each backbone costs under Pirt's parts, and what a refined grid costs, against the paper's ResNet-50-IBN-a."""

import time
from collections.abc import Callable

import click
import torch

from pirt.models import Pirt, build_pirt
from pirt.summary import summarise

SIZE, HEATMAPS = (384, 128), (96, 32)
PAPERS = "resnet50_ibn_a"
CONTENDERS: dict[str, dict[str, object]] = {
    PAPERS: {},
    "resnet50": {},
    "vit_small": {},
    "vit_small, patches 12 apart": {"backbone_options": {"patch_stride": [12, 12]}},
    "vit_base": {},
    "swin_tiny": {},
    "swin_tiny, refined": {"refine": 2},
    "swin_base": {},
    "swin_base, refined": {"refine": 2},
}


def model_of(name: str) -> Pirt:
    """Build the model of a line of the table, with random weights."""
    choices: dict[str, object] = {"backbone": name.split(",")[0], "image_size": SIZE}
    build: Callable[..., Pirt] = build_pirt
    return build(10, **choices, **CONTENDERS[name]).eval()


def seconds(run: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


@click.command()
@click.option("--batch-size", default=4, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(batch_size: int, rounds: int) -> None:
    """Print parameters, work and time of a forward pass; rounds alternate, so that a busy machine slows all alike."""
    images, heatmaps = torch.randn(batch_size, 3, *SIZE), torch.rand(batch_size, 17, *HEATMAPS)
    models = {name: model_of(name) for name in CONTENDERS}
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for name, model in models.items():
                times[name].append(seconds(lambda model=model: model(images, heatmaps)))  # type: ignore[misc]
    print("| backbone | grid | parameters | GFLOPs/image | time / ResNet-50-IBN-a |\n|---|---|--:|--:|--:|")
    for name, model in models.items():
        total = summarise(model, SIZE, HEATMAPS)[-1]
        with torch.inference_mode():
            H, W = model.intra_features(images[:1], heatmaps[:1]).shape[2:]
        # The first round warms up; the fastest of the others is the least disturbed.
        ratio = min(times[name][1:]) / min(times[PAPERS][1:])
        print(f"| {name} | {H}×{W} | {total.parameters / 1e6:.0f} M | {total.flops / 1e9:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
