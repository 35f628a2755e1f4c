import pytest
from PIL import Image

from pirt.visual.rank_list import FRAMES, QueryRow, Shown, draw_rank_lists

GREY = Image.new("RGB", (30, 60), (128, 128, 128))


def pixels(picture: Image.Image) -> dict[tuple[int, int, int], int]:
    return {colour: count for count, colour in picture.getcolors(picture.width * picture.height)}


def draw(*found: Shown, captions: str = "") -> Image.Image:
    return draw_rank_lists(["model"], [QueryRow(Shown(GREY, "query", caption=captions), (found,))], (64, 32))


def test_frames_and_legend_show_only_what_is_there():
    found = pixels(draw(Shown(GREY, "match"), Shown(GREY, "other"), Shown(GREY, "other")))
    frame = 40 * 72 - 32 * 64
    assert found[FRAMES["query"]] >= frame
    assert found[FRAMES["match"]] == frame + 13 * 13
    assert found[FRAMES["other"]] == 2 * frame + 13 * 13
    assert FRAMES["unknown"] not in found


def test_own_camera_is_marked():
    badge = (25, 90, 200)
    assert badge not in pixels(draw(Shown(GREY, "match")))
    assert pixels(draw(Shown(GREY, "other", same_camera=True)))[badge] > 13 * 13


def test_a_match_of_the_own_camera_has_a_frame_of_its_own():
    found = pixels(draw(Shown(GREY, "match", same_camera=True)))
    assert found[25, 90, 200] == 40 * 72 - 32 * 64 + 13 * 13
    assert FRAMES["match"] not in found


def test_confidences_are_bars_of_their_length():
    ink, faint = (30, 30, 30), (225, 225, 225)

    def bars(head):
        return pixels(draw(Shown(GREY, "other", confidences={"head": head, "arms": 0.0, "upper": 0.0, "lower": 0.0})))

    low, high = bars(0.25), bars(0.75)
    assert high[ink] - low[ink] == pytest.approx(0.5 * 40 * 5, abs=10)
    assert low[faint] > high[faint]


def test_every_group_has_a_bar_and_stands_in_the_legend():
    few, many = ({f"part {n}": 0.5 for n in range(count)} for count in (2, 4))
    two, four = (draw(Shown(GREY, "other", confidences=values)) for values in (few, many))
    assert four.height == two.height + 2 * 7
    assert four.width > two.width, "two more names"


def test_models_stand_side_by_side_in_one_row():
    lists = tuple(Shown(GREY, "other") for _ in range(3))
    one = draw_rank_lists(["a"], [QueryRow(Shown(GREY, "query"), (lists,))] * 2)
    two = draw_rank_lists(["a", "b"], [QueryRow(Shown(GREY, "query"), (lists, lists))] * 2)
    assert two.height == one.height
    assert two.width > one.width


def test_long_captions_stay_below_their_image():
    short, long = draw(Shown(GREY, "other", caption="1")), draw(Shown(GREY, "other", caption="1" * 200))
    assert short.size == long.size
    gap = range(16 + 40 + 22 + 40 + 1, short.width)
    row = 16 + 16 + 12 + 72 + 8
    assert all(long.getpixel((x, row)) == (255, 255, 255) for x in gap)
