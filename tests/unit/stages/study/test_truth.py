import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from pirt.core.manifest import read_manifest
from pirt.models.part_groups import named_groups
from pirt_stages.data.pedestrians.plan import PROFILES, plan
from pirt_stages.data.pedestrians.shot import render
from pirt_stages.study.truth import Truth


def test_the_visible_share_counts_what_an_occluder_covers_alone(rendered: Path) -> None:
    queries = read_manifest(rendered / "manifest.csv").split("query")
    groups = named_groups("paper")
    shares = Truth(rendered / "keypoints.json").visible(queries, groups)
    shots = {entry.path: entry.shot for entry in plan(PROFILES["smoke"], 0)}
    for row, found in zip(queries, shares, strict=True):
        covered = render(0, shots[row.path]).keypoints
        bare = render(0, replace(shots[row.path], occluded=False)).keypoints
        for share, (_, group) in zip(found, groups, strict=True):
            there = [k for k in group if bare[k][2] == 2]
            seen = [k for k in there if covered[k][2] == 2]
            assert np.isnan(share) if not there else share == len(seen) / len(there)
    assert 0 < np.nanmin(shares[shares > 0]) < 1


def test_whole_pictures_are_not_drawn_again(rendered: Path, tmp_path: Path) -> None:
    table = json.loads((rendered / "keypoints.json").read_text())
    for one in table["annotations"]:
        one |= {"occluder": None, "keypoints": [1.0, 1.0, 2] * 5 + [1.0, 1.0, 1] * 12}
    (tmp_path / "keypoints.json").write_text(json.dumps(table))
    queries = read_manifest(rendered / "manifest.csv").split("query")
    shares = Truth(tmp_path / "keypoints.json").visible(queries, named_groups("paper"))
    assert (shares[:, 0] == 1).all()
    assert np.isnan(shares[:, 1:]).all()
