"""The recipe of an evaluation: embed, rank, measure."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from pirt.core.errors import DataError, StoreError
from pirt.core.files import files_named, written_whole
from pirt.core.manifest import Manifest, Split
from pirt.progress import note, progress
from pirt.ranking.embed import Source, Speed, embed, rows_to_embed, rows_to_measure
from pirt.ranking.embeddings import Embeddings, open_embeddings, refuse_other_embeddings
from pirt.ranking.evaluation import Persons, evaluate
from pirt.ranking.matching import DEFAULT_MODE
from pirt.ranking.params import EvaluateParams
from pirt.ranking.results import (
    METRICS_FILE,
    SCORES_FILE,
    Metrics,
    metrics_files,
    metrics_of,
    origins_of,
    read_metrics,
    refuse_other_metrics,
    write_metrics,
)
from pirt.ranking.verification import Verification, measure_verification
from pirt.runs.run import weights_sha256

EMBEDDINGS_FILE = "embeddings.h5"


def evaluate_run(source: Source, params: EvaluateParams, out: Path, speed: Speed) -> Metrics:
    """Write `embeddings.h5` and `metrics.json` into `out`; a finished evaluation there stays until this one is."""
    _refuse_other_evaluation(out)
    rows, place = rows_to_measure(source), out / EMBEDDINGS_FILE
    # Where nothing is replaced, embeddings are kept even if measuring them is stopped.
    replaces = place.exists() or (out / METRICS_FILE).exists()
    with written_whole(place) if replaces else nullcontext(place) as file:
        embed(source, rows, file, speed)
        return _measure_into(out, open_embeddings(file), params, speed.device)


def embed_run(source: Source, out: Path, speed: Speed) -> Embeddings:
    """Write `embeddings.h5` of whatever queries and gallery images there are; metrics of earlier ones are removed."""
    _refuse_other_evaluation(out)
    embed(source, rows_to_embed(source.manifest), out / EMBEDDINGS_FILE, speed)
    for measured in (out / METRICS_FILE, out / SCORES_FILE):
        if measured.exists():
            measured.unlink()
            note(f"removed {measured}, which was measured from earlier embeddings")
    return open_embeddings(out / EMBEDDINGS_FILE)


def _refuse_other_evaluation(out: Path) -> None:
    refuse_other_metrics(out)
    refuse_other_embeddings(out / EMBEDDINGS_FILE)


def evaluate_embeddings(
    path: Path,
    run: Path | None,
    manifest: Manifest | None,
    params: EvaluateParams,
    out: Path,
    device: torch.device,
) -> Metrics:
    """Write `metrics.json` from embeddings that are there."""
    refuse_other_metrics(out)
    embeddings = open_embeddings(path)
    require_made_from(embeddings, run, manifest)
    if (out / EMBEDDINGS_FILE).exists() and not path.samefile(out / EMBEDDINGS_FILE):
        raise StoreError(
            f"{out} holds the metrics of its own {EMBEDDINGS_FILE}; name another --out for those of {path}"
        )
    return _measure_into(out, embeddings, params, device)


def _measure_into(out: Path, embeddings: Embeddings, params: EvaluateParams, device: torch.device) -> Metrics:
    metrics = measure(embeddings, params, device)
    write_metrics(metrics, out)
    return metrics


def measured_in(places: Sequence[Path]) -> dict[Path, Metrics]:
    """Read every `metrics.json` in and below `places`; the keys are their folders, none of them twice."""
    found: dict[Path, Metrics] = {}
    known: set[Path] = set()
    for place in places:
        if not place.is_dir():
            raise DataError(f"{place} is not a folder; name one that `pirt-eval --out` wrote")
        for file in metrics_files(place):
            if (whole := file.parent.resolve()) in known:
                raise DataError(f"evaluation {whole} is named twice; name different ones")
            known.add(whole)
            found[file.parent] = read_metrics(file)
    return found


def embeddings_of(measured: Mapping[Path, Metrics], places: Sequence[Path]) -> list[Embeddings]:
    """Open the embeddings that each of `measured`, metrics by their folder, was computed from.

    They lie beside the metrics, or in or below one of `places`, and are recognised by their lineage.
    """
    beside = {folder: folder / EMBEDDINGS_FILE for folder in measured}
    beside = {folder: path for folder, path in beside.items() if path.is_file()}
    # Only where some lack theirs: listing and opening all files below the places takes long.
    searched = places if len(beside) < len(measured) else ()
    elsewhere = [open_embeddings(path) for place in searched for path in files_named(EMBEDDINGS_FILE, place)]
    found = []
    for folder, metrics in measured.items():
        candidates = [open_embeddings(beside[folder])] if folder in beside else elsewhere
        match = next((one for one in candidates if origins_of(one) == metrics.lineage), None)
        if match is None:
            listed = ", ".join(map(str, places))
            wrong = f"{folder / METRICS_FILE} was computed from an {EMBEDDINGS_FILE} that is not in {listed}"
            if folder in beside:
                wrong = f"{folder} holds {METRICS_FILE} and {EMBEDDINGS_FILE} of different runs"
            raise StoreError(f"{wrong}; name the folder of the right one, or evaluate again with `pirt-eval`")
        found.append(match)
    return found


def measure(embeddings: Embeddings, params: EvaluateParams, device: torch.device) -> Metrics:
    """Rank the gallery for every query and measure the rankings."""
    query, gallery = persons(embeddings, "query"), persons(embeddings, "gallery")
    with progress(len(query), "matching", "query") as bar:
        found = evaluate(query, gallery, params, device=device, progress=bar.update)
    pairs = count_pairs(query, gallery, params, device, "same or different")
    return metrics_of(found, pairs, embeddings, query, gallery, params)


def count_pairs(
    query: Persons, gallery: Persons, params: EvaluateParams, device: torch.device, doing: str
) -> Verification:
    """Count all pairs by their distance in the default mode; `doing` is what the progress bar says."""
    with progress(len(query), doing, "query") as bar:
        return measure_verification(
            query,
            gallery,
            mode=DEFAULT_MODE,
            group_distance=params.group_distance,
            junk=params.junk,
            device=device,
            progress=bar.update,
        )


def persons(embeddings: Embeddings, split: Split) -> Persons:
    """Read one split of the file."""
    rows = embeddings.rows(split)
    return Persons(embeddings.features(split), embeddings.pids[rows], embeddings.camids[rows])


def require_made_from(embeddings: Embeddings, run: Path | None, manifest: Manifest | None) -> None:
    """Raise when the embeddings come from another run or manifest than those given."""
    lineage = embeddings.lineage
    if run is not None and (found := weights_sha256(run)) != lineage.checkpoint_sha256:
        raise StoreError(
            f"embeddings {embeddings.path} come from another run (checkpoint {lineage.checkpoint_sha256[:12]}, {run} "
            f"has {found[:12]}); make them again with `pirt-eval --run {run}`"
        )
    if manifest is not None and manifest.fingerprint != lineage.manifest_fingerprint:
        raise StoreError(
            f"embeddings {embeddings.path} come from another manifest (fingerprint "
            f"{lineage.manifest_fingerprint[:12]}, this one has {manifest.fingerprint[:12]}); make them again with "
            "`pirt-eval --run`"
        )
