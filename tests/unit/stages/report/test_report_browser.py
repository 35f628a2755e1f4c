"""The page in headless Chromium: wide, on a phone, and with a picture opened large."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pirt.visual.rank_list import QueryRow, Shown, draw_rank_lists
from pirt_stages.report.cli import main

pytestmark = pytest.mark.slow
DATA = {
    "split": "gallery", "images": 17661, "junk": 0, "distractors": 0, "unreadable": 0, "identities": 1110,
    "images_an_identity": [1, 15.9, 421], "cameras": 8, "visible": {"head": 0.98, "upper": 0.9, "lower": 0.7},
}  # fmt: skip


@pytest.fixture
def report(write_metrics: Callable[..., Path], tmp_path: Path) -> Path:
    """A report whose rank lists are as wide as real ones."""
    for index, variant in enumerate(("baseline", "parts", "intra", "pirt")):
        for seed in range(3):
            folder = write_metrics(variant, seed, 0.4 + 0.01 * index)
    command = ["tables", "--benchmark", "Occluded-DukeMTMC", "--metrics", str(folder), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(main, command).exit_code == 0
    figures = tmp_path / "out" / "figures"
    figures.mkdir()
    (figures / "data.json").write_text(
        json.dumps({"splits": [DATA | {"split": split} for split in ("train", "query", "gallery")]})
    )
    person = Shown(Image.new("RGB", (64, 128), (90, 90, 160)), "match")
    own = Shown(person.image, "match", same_camera=True)
    row = QueryRow(person, ((person, own) * 5, (own, person) * 5))
    draw_rank_lists(["baseline", "Pirt"], [row] * 3).save(figures / "ranks.png")
    assert CliRunner().invoke(main, ["html", str(tmp_path / "out")]).exit_code == 0
    return tmp_path / "out" / "report.html"


@pytest.fixture
def opened(browser, report):
    contexts = []

    def open_at(width: int):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.goto(report.as_uri())
        return page

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    assert opened(width).evaluate("document.documentElement.scrollWidth") <= width


def test_persons_in_rank_lists_keep_their_size_on_a_phone(opened):
    picture = opened(400).locator(".ranks img")
    assert picture.evaluate("one => one.getBoundingClientRect().width / one.naturalWidth") == 1


@pytest.mark.parametrize("width", [400, 1280])
def test_a_click_or_the_space_bar_opens_a_picture_large_and_closes_it(opened, width):
    page = opened(width)
    picture = page.locator(".ranks img")
    before = picture.bounding_box()
    for act in (lambda: picture.click(position={"x": 20, "y": 20}), lambda: page.keyboard.press("Space")):
        act()
        page.wait_for_selector(".ranks .large :checked", state="attached")
        box = page.locator(".ranks .large").bounding_box()
        assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, width, 900)
        assert picture.evaluate("one => one.getBoundingClientRect().width / one.naturalWidth") == 1
        act()
        page.wait_for_selector(".ranks .large :not(:checked)", state="attached")
        assert picture.bounding_box()["width"] == before["width"]
