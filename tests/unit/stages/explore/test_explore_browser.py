"""The explorer as a person uses it, in headless Chromium, opened from disk."""

import re
from dataclasses import replace

import pytest
from explorer_world import EVIL, data_of, rows_of, write_evaluation

from pirt.core.manifest import write_manifest


@pytest.fixture
def opened(browser, site):
    """Open the page; afterwards nothing but its own files was asked for and no script failed."""
    contexts, requests, errors = [], [], []

    def open_at(where: str = "", **how):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{(site / 'index.html').as_uri()}{where}")
        page.wait_for_selector("main h1")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert errors == []
    assert requests != []
    assert [url for url in requests if not url.startswith((site.as_uri(), "data:"))] == []


def names(page) -> list[str]:
    return page.locator("#queries tbody a").all_text_contents()


def by(head: dict, values: list, *, down: bool = False) -> list[str]:
    order = sorted(range(len(values)), key=lambda query: (-values[query] if down else values[query], query))
    return [head["keys"][query] for query in order]


def test_overview_shows_scores_charts_and_bars_that_filter(opened, site):
    page, head = opened(), data_of(site, "overview")
    assert page.locator("h1").text_content() == "Overview"
    assert page.locator("#overview table").first.locator("tbody tr").count() == 2
    assert f"{100 * head['evaluations'][1]['mAP']:.1f}" in page.locator("#overview table").first.text_content()
    assert page.locator("svg.chart path.line").count() == 6
    assert "undefined" not in page.text_content("main")
    assert "[object" not in page.text_content("main")
    camera = next(trait for trait in head["traits"] if trait["name"] == "camera")
    page.click("[data-trait=camera][data-bin='1']")
    page.wait_for_selector("#queries")
    expected = [key for key, place in zip(head["keys"], camera["bins"], strict=True) if place == 1]
    assert sorted(names(page)) == sorted(expected)
    page.click(".chip")
    assert len(names(page)) == len(head["keys"])


def test_queries_stand_hardest_first_and_are_sorted_by_a_click(opened, site):
    page, head = opened("#queries"), data_of(site, "overview")
    assert names(page) == by(head, head["precisions"][1])
    page.click("[data-column=ap0]")
    assert names(page) == by(head, head["precisions"][0])
    page.click("[data-column=ap0]")
    assert names(page) == by(head, head["precisions"][0], down=True)
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.fill("#find", "005")
    assert names(page) == ["query/005.png"]


def test_keys_go_everywhere(opened, site):
    page, head = opened(), data_of(site, "overview")
    page.keyboard.press("q")
    page.wait_for_selector("#queries")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_selector("#query")
    hardest = by(head, head["precisions"][1])
    assert page.text_content("h1") == hardest[1]
    page.keyboard.press("j")
    page.wait_for_function("key => document.querySelector('h1').textContent === key", arg=hardest[2])
    assert page.locator(".found.focus").get_attribute("data-evaluation") == "1"
    page.keyboard.press("e")
    page.wait_for_selector(".found.focus[data-evaluation='0']")
    assert page.locator(".with-heat").count() == 1
    page.keyboard.press("h")
    page.wait_for_selector(".big:not(.with-heat)")
    assert not page.locator(".heat").is_visible()
    page.keyboard.press("w")
    page.wait_for_selector("[data-order=even][aria-pressed=true]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#queries")
    page.keyboard.press("/")
    page.wait_for_selector("#find:focus")
    page.keyboard.type("q")  # typed, not a key of ours
    assert page.input_value("#find") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    page.wait_for_selector("#overview")


def test_one_query_shows_frames_places_and_the_distance_taken_apart(opened, site):
    page, number = opened("#query=4"), 4
    page.wait_for_selector("#pair h3")
    head, piece = data_of(site, "overview"), data_of(site, "queries-0")
    pid, camid = head["pids"][number], head["camids"][number]
    for place, one in enumerate(piece["queries"][str(number)]):
        listed = page.locator(f".found[data-evaluation='{place}'] .list").first.locator(".shown")
        rank = 0
        for at, image in enumerate(one["lists"]["ranked"]):
            _, other, camera = piece["images"][str(image)]
            kind = "junk" if other == -1 else "distractor" if other == 0 else "other"
            kind = ("dropped" if camera == camid else "match") if other == pid else kind
            assert kind in listed.nth(at).get_attribute("class").split()
            rank += kind not in ("junk", "dropped")
            assert listed.nth(at).locator(".rank").text_content() == ("–" if kind in ("junk", "dropped") else str(rank))
        matches = page.locator(f".found[data-evaluation='{place}'] .matches .rank").all_text_contents()
        assert [int(text) for text in matches] == one["places"]
    pirt = piece["queries"][str(number)][1]
    image = pirt["lists"]["ranked"][3]
    page.click(f".found[data-evaluation='1'] .list >> nth=0 >> .shown[data-image='{image}']")
    rows = page.locator("#pair .apart").nth(1).locator("tbody tr")
    at = pirt["images"].index(image)
    total = 0.0
    for line, (distance, weight) in enumerate(
        [(pirt["base"][at], 10_000), *((pirt["parts"][g][at], pirt["weights"][g][at]) for g in range(3))]
    ):
        shown = [float(text) for text in rows.nth(line).locator("td").all_text_contents()]
        assert shown == pytest.approx([distance / 1e4, weight / 1e4, distance * weight / 1e8], abs=6e-4)
        total += distance * weight / 1e8
    assert float(page.locator("#pair .total").nth(1).text_content()) == pytest.approx(total, abs=6e-4)


def test_a_query_that_is_nobody_has_no_match(browser, explore, tmp_path):
    rows = [replace(row, pid=0) if number == 0 else row for number, row in enumerate(rows_of(tmp_path))]
    manifest = write_manifest(tmp_path / "manifest.csv", rows, tmp_path)
    write_evaluation(tmp_path / "one", manifest, parts=False, seed=4)
    given = ("--manifest", tmp_path / "manifest.csv")
    assert explore(tmp_path / "site", *given, evaluations=(str(tmp_path / "one"),)).exit_code == 0
    page = browser.new_page()
    page.goto(f"{(tmp_path / 'site/index.html').as_uri()}#query=0")
    page.wait_for_selector("#pair h3")
    kinds = page.locator(".lists .shown").evaluate_all("all => all.map(one => one.classList[1])")
    page.close()
    assert "distractor" in kinds
    assert not {"match", "dropped"} & set(kinds)


def test_thumbnails_and_heatmaps_are_there(opened):
    page = opened("#query=0")
    page.wait_for_selector("#pair h3")
    page.wait_for_function(
        "[...document.images].every(image => image.loading === 'lazy' || (image.complete && image.naturalWidth > 0))"
    )
    assert "heat-0" in page.evaluate("getComputedStyle(document.querySelector('.heat img')).filter")


@pytest.mark.parametrize("where", ["", "#queries", "#query=3"])
def test_every_picture_has_a_text(opened, where):
    page = opened(where)
    if where == "#query=3":
        page.wait_for_selector("#pair h3")
    unnamed = """
        [...document.querySelectorAll("img, svg[role=img]")]
          .filter((one) => !one.closest("[aria-hidden=true]"))
          .filter((one) => !(one.alt || one.getAttribute("aria-label")))
          .map((one) => one.outerHTML)
    """
    assert page.evaluate(unnamed) == []
    assert page.locator("main img, main svg[role=img]").count() > 0


def test_frames_tell_apart_what_is_found_and_what_is_not_counted(opened, site):
    page, head = opened(), data_of(site, "overview")
    colours: dict[str, set[str]] = {}
    for number in range(len(head["keys"])):
        page.goto(f"{page.url.split('#')[0]}#query={number}")
        page.wait_for_function("key => document.querySelector('h1').textContent === key", arg=head["keys"][number])
        frames = "all => all.map(one => [one.classList[1], getComputedStyle(one).borderTopColor])"
        for kind, colour in page.locator(".lists .shown").evaluate_all(frames):
            colours.setdefault(kind, set()).add(colour)
    assert colours.keys() == {"match", "other", "dropped", "distractor", "junk"}
    assert len({colour for of_kind in colours.values() for colour in of_kind}) == 5


def test_lists_are_readable_on_a_phone(opened):
    page = opened("#query=3", viewport={"width": 400, "height": 800})
    page.wait_for_selector("#pair h3")
    sizes = page.locator(".lists .shown img").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert min(sizes) >= 48
    for text in ("rank", "far", "kind"):
        assert (
            page.locator(f".lists .shown .{text}").first.evaluate("one => parseFloat(getComputedStyle(one).fontSize)")
            >= 10
        )


def test_names_are_text(opened):
    page = opened("#query=0")
    assert page.text_content("h1") == f"query/{EVIL}"
    assert page.locator(".found h3").nth(1).text_content().startswith("<b>pirt")
    page.goto(page.url.split("#")[0] + "#queries")
    page.wait_for_selector("#queries")
    assert f"query/{EVIL}" in names(page)
    assert page.title() == "baseline, <b>pirt: retrieval"


@pytest.mark.parametrize("where", ["", "#queries", "#query=3"])
def test_nothing_is_wider_than_a_phone(opened, where):
    page = opened(where, viewport={"width": 400, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    if where == "#queries":
        assert page.locator("td.column-first:visible").count() == page.locator("#queries tbody tr").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(opened, scheme):
    page = opened("#query=3", color_scheme=scheme)

    def brightness(rule: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.body).{rule}")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert abs(brightness("color") - brightness("backgroundColor")) > 150
    assert (brightness("backgroundColor") < 60) == (scheme == "dark")
