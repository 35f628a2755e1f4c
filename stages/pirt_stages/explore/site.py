"""The folder that opens from disk: the page, its style and scripts, and its data in pieces."""

import csv
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from pirt.core.manifest import ImageRow
from pirt.core.texts import plain_cell
from pirt_stages.explore.failures import Found, known_or_none
from pirt_stages.explore.retrieval import RANKED
from pirt_stages.explore.traits import BODY, Trait

PAGE, DATA, TABLE = "index.html", "data", "queries.csv"
ASSETS = ("style.css", "dom.js", "charts.js", "overview.js", "table.js", "query.js", "main.js")
PER_PIECE = 10
"""Queries in one piece of data, which is read when one of them is opened."""
_CURVE_POINTS = 120
_SCALE = 10_000
"""Distances and confidences are written as whole numbers of ten-thousandths, which take fewer bytes than fractions."""


def write_page(out: Path, found: Sequence[Found]) -> None:
    """Write the page, its style and its scripts."""
    # Names of evaluations are text: the template escapes them.
    environment = Environment(
        loader=PackageLoader("pirt_stages.explore", "assets"), autoescape=True, undefined=StrictUndefined
    )
    names = [one.evaluation.name for one in found]
    page = environment.get_template("index.html.j2").render(names=names, scripts=ASSETS[1:])
    (out / PAGE).write_text(page, encoding="utf-8")
    for name in ASSETS:
        (out / name).write_bytes(files("pirt_stages.explore").joinpath("assets", name).read_bytes())


def write_data(out: Path, found: Sequence[Found], rows: Sequence[ImageRow], overview: dict[str, Any]) -> None:
    """Write the overview and a piece for every ten queries; `rows` are all images as the embeddings hold them."""
    (out / DATA).mkdir()
    count = found[0].evaluation.embeddings.query_count
    _write(out, "overview", _head(found, rows[:count]) | overview)
    for start in range(0, count, PER_PIECE):
        _write(out, f"queries-{start // PER_PIECE}", _piece(found, rows, range(start, min(start + PER_PIECE, count))))


def _write(out: Path, name: str, content: object) -> None:
    # A page that was opened from disk may run scripts beside it, but not read other files.
    # No NaN, which is not JSON and which no browser would read.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    (out / DATA / f"{name}.js").write_text(f"pirt.receive({json.dumps(name)},{text});\n", encoding="ascii")


def _head(found: Sequence[Found], queries: Sequence[ImageRow]) -> dict[str, Any]:
    places = [one.retrieval.rankings[RANKED].places for one in found]
    return {
        "evaluations": [_evaluation(one) for one in found],
        "body": [name for name, _ in BODY],
        "scale": _SCALE,
        "perPiece": PER_PIECE,
        "keys": [row.key for row in queries],
        "pids": [row.pid for row in queries],
        "camids": [row.camid for row in queries],
        "precisions": [known_or_none(one.precisions) for one in found],
        "firsts": [[int(p[0]) + 1 if len(p) else None for p in of_one] for of_one in places],
        # All evaluations are of the same images, and so of the same matches.
        "matches": [len(p) for p in places[0]],
    }


def _evaluation(one: Found) -> dict[str, Any]:
    metrics, ranking, pairs = one.evaluation.metrics, one.retrieval.rankings[RANKED], one.retrieval.verification
    calibration, errors = pairs.calibration(), pairs.at_equal_errors()
    rates = {f"{rate:g}": pairs.at_false_positive_rate(rate) for rate in (0.001, 0.01, 0.1)}
    protocol = metrics.protocol
    return {
        "name": one.evaluation.name,
        "mAP": ranking.mAP,
        "mINP": ranking.mINP,
        "cmc": ranking.cmc.tolist(),
        "orders": {name: ranking.mAP for name, ranking in one.retrieval.rankings.items()},
        "groups": one.evaluation.embeddings.group_names,
        "junk": protocol.junk,
        "base": "global" if protocol.rerank is None else "re-ranked global",
        "coarse": protocol.coarse,
        "compared": None if protocol.matching == "full" else protocol.top_n,
        "pairs": pairs.pairs,
        "roc": [[p.false_positive_rate, p.true_positive_rate, p.threshold] for p in pairs.curve(_CURVE_POINTS)],
        "equalErrors": [errors.false_positive_rate, errors.true_positive_rate, errors.threshold],
        "rates": [[rate, point.true_positive_rate, point.threshold] for rate, point in rates.items()],
        "calibration": [calibration.offset, calibration.slope],
    }


def _piece(found: Sequence[Found], rows: Sequence[ImageRow], numbers: range) -> dict[str, Any]:
    count = found[0].evaluation.embeddings.query_count
    # Of the first one: the same pairs can be looked at in all evaluations.
    shown = np.unique(np.concatenate([found[0].pairs[number].images for number in numbers]))
    gallery = {
        image: [rows[count + image].key, rows[count + image].pid, rows[count + image].camid] for image in shown.tolist()
    }
    return {
        "images": gallery,
        "confidence": [_confidences(one, shown.tolist()) for one in found],
        "queries": {number: [_query(one, number) for one in found] for number in numbers},
    }


def _confidences(one: Found, images: list[int]) -> dict[int, list[int]] | None:
    known = one.retrieval.confidence
    return None if known is None else {image: _whole(known[1][image]) for image in images}


def _query(one: Found, number: int) -> dict[str, Any]:
    retrieval = one.retrieval
    pairs = one.pairs[number]
    return {
        "lists": {name: lists[number].tolist() for name, lists in retrieval.lists.items()},
        "matches": retrieval.matches[number].tolist(),
        "places": (retrieval.rankings[RANKED].places[number] + 1).tolist(),
        "precisions": {
            name: known_or_none(ranking.average_precisions[[number]])[0] for name, ranking in retrieval.rankings.items()
        },
        "confidence": None if retrieval.confidence is None else _whole(retrieval.confidence[0][number]),
        "images": pairs.images.tolist(),
        "base": _whole(pairs.base),
        "parts": [_whole(part) for part in pairs.groups.T],
        "weights": [_whole(part) for part in pairs.weights.T],
        "ranked": _whole(pairs.ranked),
        "compared": pairs.compared.astype(int).tolist(),
    }


def _whole(values: np.ndarray[Any, Any]) -> list[int]:
    whole: list[int] = np.rint(values * _SCALE).astype(int).tolist()
    return whole


def write_table(out: Path, found: Sequence[Found], queries: Sequence[ImageRow], traits: Sequence[Trait]) -> None:
    """Write a CSV row for each query: what is known of it, and each evaluation's average precision and first match."""
    head = ["key", "path", "pid", "camid", "matches", *(trait.name for trait in traits)]
    head += [f"{one.evaluation.name} {what}" for one in found for what in ("AP", "first match")]
    labels = [[trait.labels[place] for place in trait.bins.tolist()] for trait in traits]
    places = [one.retrieval.rankings[RANKED].places for one in found]
    with (out / TABLE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(map(plain_cell, head))
        for number, row in enumerate(queries):
            scores: list[object] = []
            for one, of_one in zip(found, places, strict=True):
                precision = one.precisions[number]
                scores += ["" if np.isnan(precision) else f"{precision:.6f}"]
                scores += [int(of_one[number][0]) + 1 if len(of_one[number]) else ""]
            known = [row.key, row.path, row.pid, row.camid, len(places[0][number])]
            cells = [*known, *(column[number] for column in labels), *scores]
            table.writerow(plain_cell(cell) if isinstance(cell, str) else cell for cell in cells)
