"""An evaluation of drawn features on the device and on the CPU."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gpu_parts.machine import Machine, Sizes

from pirt.ranking.evaluation import Persons, Ranker, evaluate, query_blocks
from pirt.ranking.matching import DEFAULT_MODE, make_features
from pirt.ranking.params import EvaluateParams
from pirt.runs.precision import tf32


def rankings(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """An evaluation on the device against one on the CPU."""
    how, host = EvaluateParams(), torch.device("cpu")
    query, gallery = (
        drawn_persons(count, sizes.channels, seed) for seed, count in enumerate((sizes.queries, sizes.gallery))
    )
    evaluate(query, gallery, how, device=machine.device)
    taken, metrics, tops = [], [], []
    for device in (machine.device, host):
        began = time.perf_counter()
        metrics.append(evaluate(query, gallery, how, device=device)[DEFAULT_MODE])
        taken.append(time.perf_counter() - began)
        tops.append(first_ranks(query, gallery, how, device))
    same = float((tops[0] == tops[1]).all(axis=1).mean())
    yield from (f"| {sizes.queries:,} × {sizes.gallery:,} | {machine.device.type} | cpu |", "|---|--:|--:|")
    yield f"| seconds | {taken[0]:.2f} | {taken[1]:.2f} |"
    yield f"| mAP | {metrics[0].mAP:.6f} | {metrics[1].mAP:.6f} |"
    yield f"| queries whose first {how.max_rank} ranks are the same | {same:.2%} | |"


def drawn_persons(count: int, channels: int, seed: int) -> Persons:
    """Draw features that lie near their person's."""
    chance, numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    pids = numbers.integers(1, 703, count)
    centres = torch.randn(703, 5, channels, generator=torch.Generator().manual_seed(9))[torch.from_numpy(pids)]
    features = centres + 3 * torch.randn(count, 5, channels, generator=chance)
    confidence = torch.rand(count, 3, generator=chance)
    made = make_features(
        [features[:, 0], features[:, 1]], features[:, 2:], confidence / confidence.sum(1, keepdim=True)
    )
    return Persons(made, pids, numbers.integers(0, 8, count))


def first_ranks(query: Persons, gallery: Persons, how: EvaluateParams, device: torch.device) -> Any:
    """Return the gallery images at the first ranks of every query."""
    ranker, found = Ranker(query.features.to(device), gallery.features.to(device), how), []
    for rows in query_blocks(len(query), len(gallery)):
        with tf32(allowed=False):
            (ranking,) = ranker.rankings(rows, ranker.base(rows), [DEFAULT_MODE])
        found.append(ranking.sort(dim=1, stable=True).indices[:, : how.max_rank].cpu().numpy())
    return np.concatenate(found)
