import errno
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from pirt.core.errors import ReportError
from pirt.core.manifest import ImageRow
from pirt.models.part_groups import GROUPINGS
from pirt.visual.data_summary import read_summary, summarise_data, write_summary

GROUPS = GROUPINGS["paper"]


def people():
    """Images of all splits, in no order, with junk, distractors and some that were not read, and their scores."""
    chance = np.random.default_rng(0)
    rows = []
    for number in range(200):
        split = str(chance.choice(["train", "query", "gallery"]))
        pid = int(chance.integers(-1 if split == "gallery" else 1, 9))
        rows.append(ImageRow(f"{number}", f"{number}.png", split, pid, int(chance.integers(3)), "0" * 64))
    skipped = {row.key for row in rows if chance.random() < 0.1}
    return rows, chance.random((200, 17)).astype(np.float32) ** 2, skipped


def test_counts_and_visible_parts_equal_loops():
    rows, scores, skipped = people()
    found = {one.split: one for one in summarise_data(rows, scores, skipped, GROUPS).splits}
    assert list(found) == ["train", "query", "gallery"]
    for split, one in found.items():
        images, seen, cameras = defaultdict(int), defaultdict(list), set()
        junk = distractors = unread = total = 0
        for row, of in zip(rows, scores, strict=True):
            if row.split != split:
                continue
            total, cameras = total + 1, cameras | {row.camid}
            junk, distractors = junk + (row.pid == -1), distractors + (row.pid == 0)
            if row.pid > 0:
                images[row.pid] += 1
            if row.key in skipped:
                unread += 1
                continue
            for name, keypoints in GROUPS:
                reached = sum(of[keypoint] >= 0.3 for keypoint in keypoints)
                seen[name].append(2 * reached >= len(keypoints))
        assert (one.images, one.junk, one.distractors, one.unreadable) == (total, junk, distractors, unread)
        assert (one.identities, one.cameras) == (len(images), len(cameras))
        assert one.images_an_identity == (
            min(images.values()), sum(images.values()) / len(images), max(images.values()),
        )  # fmt: skip
        assert one.visible == {name: sum(of) / len(of) for name, of in seen.items()}
        assert 0 < one.visible["head"] < 1


def test_splits_without_persons_or_readable_images_are_told(tmp_path):
    rows = [ImageRow("a", "a.png", "gallery", 0, 1, "0" * 64)]
    summary = summarise_data(rows, np.ones((1, 17), np.float32), {"a"}, GROUPS)
    (gallery,) = summary.splits
    assert (gallery.identities, gallery.images_an_identity, gallery.visible) == (0, None, {})
    write_summary(summary, tmp_path)
    assert read_summary(tmp_path / "data.json") == summary


def test_a_summary_of_any_size_is_not_read_and_a_refusal_is_no_damage(tmp_path, monkeypatch):
    write_summary(summarise_data([], np.ones((0, 17), np.float32), set(), GROUPS), tmp_path)
    assert read_summary(tmp_path / "data.json")
    with (tmp_path / "data.json").open("a") as file:
        file.write(" " * (1 << 20))  # which JSON may end with
    with pytest.raises(ReportError, match="not a data summary of this version"):
        read_summary(tmp_path / "data.json")
    monkeypatch.setattr(Path, "stat", lambda path: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(OSError, match="Too many open files"):
        read_summary(tmp_path / "data.json")
