"""Distances between persons: globally, and by part groups within the globally nearest (section 3.4)."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from pirt.core.errors import DataError

ConfidenceMode = Literal["query-gallery", "query", "gallery", "none", "even"]
"""Whose confidences weigh the groups: the rows of Table 5, and "even", where each of G groups weighs 1/G.

With "none" each weighs 1, so that all together weigh G and not 1 at most: compared with "even" it shows what is due to
the balance of global and group distance, and "even" with the others what is due to the confidences.
"""
# The authors' program picks by the stripe's alone.
Coarse = Literal["sum", "stripe"]
"""What picks the top N and orders the rest: the sum of all global distances, or the stripe's alone."""
# The paper's text says cosine; the authors' program, which made its numbers, takes the Euclidean distance.
GroupDistance = Literal["euclidean", "cosine"]
"""How two unit features of a group are compared: ‖a − b‖, or 1 − a·b."""
CONFIDENCE_MODES: tuple[ConfidenceMode, ...] = get_args(ConfidenceMode)
DEFAULT_MODE: ConfidenceMode = "query-gallery"
_CHUNK = 1 << 15
"""Images of a gallery at a time that a GPU which cannot hold all is given: 0.8 GB of the paper's group features."""


@dataclass(frozen=True)
class Features:
    """What is matched of M images. Every single feature has unit length.

    `globals`: M×(S·C), the S global features side by side; their one dot product is the sum of S cosines.
    `groups`: G×M×C, a matrix a group, and `confidence`: M×G, or None for models without parts.
    """

    globals: Tensor
    global_count: int
    groups: Tensor | None = None
    confidence: Tensor | None = None

    def __len__(self) -> int:
        return len(self.globals)

    def __getitem__(self, rows: slice | list[int]) -> "Features":
        groups = None if self.groups is None else self.groups[:, rows]
        confidence = None if self.confidence is None else self.confidence[rows]
        return Features(self.globals[rows], self.global_count, groups, confidence)

    def to(self, device: torch.device) -> "Features":
        """Return the features on `device`."""
        groups = None if self.groups is None else self.groups.to(device)
        confidence = None if self.confidence is None else self.confidence.to(device)
        return Features(self.globals.to(device), self.global_count, groups, confidence)


def make_features(
    global_features: Sequence[Tensor], groups: Tensor | None = None, confidence: Tensor | None = None
) -> Features:
    """Scale a model's outputs to unit length: S times M×C, and M×G×C; the confidences M×G stay as they are.

    NaN and infinity are a DataError: behind the places of coarse-to-fine matching nobody would see them.
    """
    for values in (*global_features, groups, confidence):
        if values is not None and not (finite := values.flatten(1).isfinite().all(dim=1)).all():
            raise DataError(f"features of image {int(finite.int().argmin())} are not finite; check the model's weights")
    unit = torch.cat([F.normalize(feature, dim=-1) for feature in global_features], dim=-1)
    by_group = None if groups is None else F.normalize(groups, dim=-1).transpose(0, 1).contiguous()
    return Features(unit, len(global_features), by_group, confidence)


def global_distances(query: Features, gallery: Features) -> Tensor:
    """Sum of the global features' cosine distances: b×M, from 0 to 2·S."""
    asked, largest = query.globals, query.globals.new_full((1, 1), query.global_count)
    # In one call: to subtract the product would take a second matrix of its size.
    return _across(gallery.globals, asked.device, lambda chunk: torch.addmm(largest, asked, chunk.T, alpha=-1))


def first_global_distances(query: Features, gallery: Features) -> Tensor:
    """Cosine distance of the first global feature, the stripe's where there is an IRT: b×M, from 0 to 2."""
    C = query.globals.shape[1] // query.global_count
    asked = query.globals[:, :C]
    return _across(gallery.globals[:, :C], asked.device, lambda chunk: 1 - asked @ chunk.T)


def _is_elsewhere(gallery: Tensor, device: torch.device) -> bool:
    """Tell whether a gallery was left on the host, since `device` cannot hold it."""
    return gallery.device.type != device.type


def _across(gallery: Tensor, device: torch.device, compare: Callable[[Tensor], Tensor]) -> Tensor:
    """Compare a gallery …×M×C with b queries on `device`: …×b×M; one on the host comes a chunk at a time."""
    if not _is_elsewhere(gallery, device):
        return compare(gallery)
    M = gallery.shape[-2]
    # One by one: all chunks at once are what the device cannot hold.
    parts = (compare(gallery[..., start : start + _CHUNK, :].to(device)) for start in range(0, M, _CHUNK))
    return torch.cat(list(parts), dim=-1)


def _brought(groups: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the images that `columns` name, G×M×C, to their device, where they stand at the places returned."""
    if not _is_elsewhere(groups, columns.device):
        return groups, columns
    named, places = torch.unique(columns, return_inverse=True)
    return groups[:, named.to(groups.device)].to(columns.device), places


def nearest(distances: Tensor, count: int) -> Tensor:
    """Return the columns of the `count` smallest values of each row, b×count, ascending by column.

    Of equal values the earlier columns are taken.
    """
    if count >= distances.shape[1]:
        return torch.arange(distances.shape[1], device=distances.device).expand(len(distances), -1)
    # One more than asked for shows a tie at the last place, where topk takes whichever it likes.
    values, columns = distances.topk(count + 1, dim=1, largest=False)
    for row in torch.nonzero(values[:, count - 1] == values[:, count])[:, 0].tolist():
        columns[row] = distances[row].sort(stable=True).indices[: count + 1]
    # Ascending, as sparse rows have their columns and as ties among the candidates are broken.
    return columns[:, :count].sort(dim=1).values


def candidate_group_distances(
    query_groups: Tensor, gallery_groups: Tensor, candidates: Tensor, kind: GroupDistance
) -> Tensor:
    """Distance of unit group features, G×b×C to the b×N `candidates` among G×M×C: b×N×G."""
    b, N = candidates.shape
    M = gallery_groups.shape[1]
    starts = torch.arange(b + 1, device=candidates.device) * N
    # Only the places count: `beta=0` below leaves the pattern's own values out.
    wanted = torch.zeros(b * N, dtype=query_groups.dtype, device=candidates.device)
    with warnings.catch_warnings():
        # PyTorch says at every first use that this layout is in beta.
        warnings.filterwarnings("ignore", "Sparse")
        pattern = torch.sparse_csr_tensor(starts, candidates.flatten(), wanted, (b, M), check_invariants=False)
    # The product of two matrices at the candidates' places alone: nothing is gathered, each row is read once.
    cosines = [
        torch.sparse.sampled_addmm(pattern, of_query, of_gallery.T, beta=0).values().view(b, N)
        for of_query, of_gallery in zip(query_groups, gallery_groups, strict=True)
    ]
    return unit_distances(torch.stack(cosines, dim=-1), kind)


def gallery_group_distances(query_groups: Tensor, gallery_groups: Tensor, kind: GroupDistance) -> Tensor:
    """Distance of unit group features, G×b×C to G×M×C: G×b×M."""
    cosines = _across(gallery_groups, query_groups.device, lambda chunk: torch.bmm(query_groups, chunk.transpose(1, 2)))
    return unit_distances(cosines, kind)


def unit_distances(cosines: Tensor, kind: GroupDistance) -> Tensor:
    """Turn cosines into 1 − cos or ‖a − b‖ = √(2 − 2·cos), in place.

    A rounding error of ε in the cosine becomes up to √(2ε) in the Euclidean distance where a = b.
    """
    if kind == "cosine":
        return cosines.neg_().add_(1)
    # The cosine of equal features may round to more than 1, and the root would be NaN.
    return _square_root(cosines.mul_(-2).add_(2).clamp_(min=0))


def _square_root(values: Tensor) -> Tensor:
    """Take √ of each value, in place.

    On a CPU by NumPy, which rounds as IEEE 754 asks: PyTorch takes MKL's roots, which processors of different makers
    round differently.
    """
    if values.device.type != "cpu":
        return values.sqrt_()
    array = values.numpy()
    np.sqrt(array, out=array)
    return values


def group_weights(query: Tensor, gallery: Tensor, mode: ConfidenceMode, G: int) -> Tensor:
    """Return √(c_q·c_g) of two confidences that broadcast, with 1 for the sides that `mode` leaves out.

    `G` is the number of groups, over which "even" spreads a weight of 1.
    """
    if mode == "none":
        return torch.ones_like(query * gallery)
    if mode == "even":
        return torch.full_like(query * gallery, 1 / G)
    if mode == "query":
        return _square_root(query.clone()).expand_as(query * gallery)
    if mode == "gallery":
        return _square_root(gallery.clone()).expand_as(query * gallery)
    return _square_root(query * gallery)


@dataclass(frozen=True)
class Candidates:
    """The globally nearest N images of b queries, in gallery order, compared by part groups.

    `columns`: b×N gallery images; `global_distances`: b×N; `group_distances`: b×N×G.
    """

    columns: Tensor
    global_distances: Tensor
    group_distances: Tensor
    confidences: tuple[Tensor, Tensor]
    """b×1×G of the queries and b×N×G of the candidates."""

    def distances(self, mode: ConfidenceMode = DEFAULT_MODE) -> Tensor:
        """Global distance + Σ_g w_g·d(f̂_q, f̂_g): b×N."""
        weights = group_weights(*self.confidences, mode, self.group_distances.shape[-1])
        return self.global_distances + (weights * self.group_distances).sum(dim=-1)


def find_candidates(
    query: Features, gallery: Features, distances: Tensor, coarse: Tensor, top_n: int, kind: GroupDistance
) -> Candidates:
    """Compare the part groups of b queries with those of their `top_n` nearest by `coarse`, b×M.

    `distances`, b×M, are what the groups' distances are added to.
    """
    columns = nearest(coarse, top_n)
    query_groups, query_confidence = parts_of(query)
    gallery_groups, gallery_confidence = parts_of(gallery)
    return Candidates(
        columns=columns,
        global_distances=distances.gather(1, columns),
        group_distances=candidate_group_distances(query_groups, *_brought(gallery_groups, columns), kind),
        # Of the ranked image; the authors' evaluator takes that of the row number, a slip.
        confidences=(query_confidence[:, None], gallery_confidence[columns]),
    )


def parts_of(features: Features) -> tuple[Tensor, Tensor]:
    """Return the group features and confidences of features that have them."""
    if features.groups is None or features.confidence is None:
        raise ValueError("these features have no part groups; match them globally")
    return features.groups, features.confidence


def coarse_to_fine(
    query: Features,
    gallery: Features,
    distances: Tensor,
    coarse: Tensor,
    top_n: int,
    modes: Sequence[ConfidenceMode],
    kind: GroupDistance,
) -> Iterator[Tensor]:
    """Rank by `coarse`, b×M, then the `top_n` nearest anew by `distances`, b×M, and those of their part groups.

    Yields, for each of `modes`, a matrix b×M that orders each row as it is ranked: the place − `top_n` of the
    top images, which is a negative whole number, and `coarse` of the others. Its memory is that of
    `coarse`, which may be `distances`, and the next mode overwrites it.
    """
    # Once, before the first mode overwrites `coarse`, which may be the `distances` that are read here.
    candidates = find_candidates(query, gallery, distances, coarse, top_n, kind)
    for mode in modes:
        # Below zero, so before every distance of the others; float32 holds whole numbers exactly up to 2²⁴.
        places = places_of(candidates.distances(mode)) - candidates.columns.shape[1]
        yield coarse.scatter_(1, candidates.columns, places.to(coarse.dtype))


def fully(
    query: Features, gallery: Features, distances: Tensor, modes: Sequence[ConfidenceMode], kind: GroupDistance
) -> Iterator[Tensor]:
    """Yield, for each of `modes`, `distances` + Σ_g w_g·d(f̂_q, f̂_g) over the whole gallery: b×M."""
    query_groups, query_confidence = parts_of(query)
    gallery_groups, gallery_confidence = parts_of(gallery)
    by_group = gallery_group_distances(query_groups, gallery_groups, kind)
    for mode in modes:
        # The next mode starts from the same global distances.
        total = distances.clone()
        # Group by group, since a product of all would take G more matrices.
        for g, group_distances in enumerate(by_group):
            pair = query_confidence[:, None, g], gallery_confidence[None, :, g]
            weights = group_weights(*pair, mode, len(by_group))
            total.addcmul_(weights, group_distances)
        yield total


def places_of(distances: Tensor) -> Tensor:
    """Return each value's place, from 0, in the ascending order of its row; equal values keep their order."""
    order = distances.argsort(dim=1, stable=True)
    places = torch.arange(distances.shape[1], device=distances.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)
