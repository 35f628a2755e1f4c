"""What a benchmark consists of, as a section of the page."""

from collections.abc import Callable, Iterable
from html import escape

from pirt.visual.data_summary import DataSummary, SplitSummary
from pirt_stages.report.formats import MISSING

_COUNTS: dict[str, Callable[[SplitSummary], str]] = {
    "images": lambda split: f"{split.images:,}",
    "identities": lambda split: f"{split.identities:,}",
    "images an identity": lambda split: _spread(split.images_an_identity),
    "cameras": lambda split: f"{split.cameras:,}",
}
_LEFT_OUT = {"junk": "junk", "distractors": "distractors", "unreadable": "unreadable in stage 1"}


def data_section(number: int, benchmark: str, summary: DataSummary) -> str:
    """Return the section about one benchmark's images: counts, images an identity, cameras and visible parts."""
    # A column for each split, so that a phone has room for all of them.
    parts = list(dict.fromkeys(part for split in summary.splits for part in split.visible))
    lines = [["", *(split.split for split in summary.splits)]]
    lines += [[name, *map(told, summary.splits)] for name, told in _COUNTS.items()]
    lines += [[f"{part} visible", *(_share(split, part) for split in summary.splits)] for part in parts]
    head, *body = (f"<tr>{''.join(_cell(tag, text) for text in line)}</tr>" for tag, line in _tagged(lines))
    table = f'<table class="data">\n<thead>{head}</thead>\n<tbody>\n{"".join(body)}\n</tbody>\n</table>'
    # Part names come from parameters, and are escaped like all text.
    notes = "".join(f"<li>{escape(note)}</li>" for note in _notes(summary, parts))
    title = f"<h2>Data: {escape(benchmark)}</h2>"
    return f'<section id="data-{number}">\n{title}\n{table}\n<ul class="notes">{notes}</ul>\n</section>'


def _tagged(lines: list[list[str]]) -> Iterable[tuple[str, list[str]]]:
    return (("td" if place else "th", line) for place, line in enumerate(lines))


def _cell(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"


def _spread(images: tuple[int, float, int] | None) -> str:
    return f"{images[1]:.1f} ({images[0]}–{images[2]})" if images else MISSING


def _share(split: SplitSummary, part: str) -> str:
    return f"{split.visible[part]:.0%}" if part in split.visible else MISSING


def _notes(summary: DataSummary, parts: list[str]) -> Iterable[str]:
    for split in summary.splits:
        found = [f"{getattr(split, name):,} {words}" for name, words in _LEFT_OUT.items() if getattr(split, name)]
        if found:
            yield f"Of the {split.split} images {', '.join(found)}."
    if parts:
        yield (
            "A part is visible where the heatmaps of at least half of its keypoints reach "
            f"{summary.visible_from}; shares are of the images that stage 1 could read."
        )
