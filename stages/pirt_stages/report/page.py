"""The whole report as one HTML page that needs no network."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from pirt.visual.data_summary import DataSummary
from pirt_stages.report.data_table import data_section
from pirt_stages.report.formats import MISSING, PRINTED, as_csv, as_latex, delta, score_text, signed
from pirt_stages.report.lineage import anchor, facts, sections, slug, table_names
from pirt_stages.report.paper import Published
from pirt_stages.report.schema import Entry, Report, Table

_CAPTIONS = {
    "heatmaps": "Images of the benchmark and their cached heatmaps, coloured by part group.",
    "ranks": "Figure 5. Rank lists: the ten nearest gallery images of some queries.",
    "activations": "Figure 6. Activations after the intra-part relational module: mean over the channels of F_irm.",
    "table4": "Table 4 as a plot.",
    "curves": "Training curves; with several seeds their mean, and each seed faintly.",
}

_STYLE = """
:root { color-scheme: light; --line: #d0d7de; --soft: #57606a; --link: #0550ae; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: #1f2328; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; line-height: 1.3; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
nav a { display: inline-block; margin-right: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #1f2328; }
th.group { text-align: center; }
.label { width: 1%; white-space: nowrap; padding-right: 1rem; }
.score > span { display: inline-block; width: 27%; text-align: right; white-space: nowrap; }
.score > .ours { width: 46%; }
.data { width: auto; } .data :is(th, td):not(:first-child) { text-align: right; }
.several { font-size: .875rem; } .several .score { width: 23%; }
.score.alone > span { width: 100%; }
.score .ours { font-weight: 600; } .score .paper, .score .delta { color: var(--soft); font-weight: 400; }
.notes { color: var(--soft); font-size: .875rem; padding-left: 1.2rem; margin: .5rem 0; }
.files { font-size: .875rem; }
figure { margin: 1.5rem 0 2.5rem; } figure img { max-width: 100%; height: auto; cursor: zoom-in; }
figure input { position: absolute; opacity: 0; } figure input:focus-visible + img { outline: 2px solid var(--link); }
figure .large:has(:checked) { position: fixed; inset: 0; z-index: 1; overflow: auto; background: #fff; }
figure :checked + img { max-width: none; cursor: zoom-out; }
figcaption { color: var(--soft); font-size: .875rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem; margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
dl { font-size: .8125rem; } dt { color: var(--soft); margin-top: .4rem; }
dd { margin: 0; font-family: ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media (max-width: 58rem) {
  body { padding: .75rem; font-size: 15px; }
  /* Persons stay as large as they are drawn; the list is scrolled sideways. */
  .ranks label { display: block; overflow-x: auto; } .ranks img { max-width: none; }
  table { font-size: .8125rem; } th, td { padding: .35rem .4rem; }
  .several { font-size: .75rem; } .several th, .several td { padding: .35rem .15rem; }
  .label { width: auto; padding-right: .25rem; white-space: normal; }
  .score > span, .score > .ours { display: block; width: auto; white-space: normal; }
}
"""


def page(report: Report, figures: Sequence[Path], summaries: Mapping[Path, DataSummary]) -> str:
    """Return the page with these PNG files and data summaries, each in its benchmark's folder if there are several."""
    benchmarks = list(dict.fromkeys(run.benchmark for run in report.runs))
    title = f"Pirt on {', '.join(benchmarks)}"
    tables = list(zip(table_names(report), report.tables, strict=True))
    several = [table.number for _, table in tables]
    links = [
        (name, f"Table {t.number}" + (f" ({', '.join(t.benchmarks)})" if several.count(t.number) > 1 else ""))
        for name, t in tables
    ]
    links = [("data-0", "Data"), *links] if summaries else links
    links += [("figures", "Figures")] if figures else []
    links += [("lineage", "Lineage")]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Should a name from data or parameters ever be taken for markup, nothing is run or fetched for it.
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; """
        """style-src 'unsafe-inline'">""",
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{escape(title)}</h1>",
        f"<nav>{''.join(_link(target, escape(label)) for target, label in links)}</nav>",
        *_data(summaries, benchmarks),
        *(_table(name, table) for name, table in tables),
        *_figures(figures, benchmarks),
        *_lineage(report),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _link(target: str, text: str) -> str:
    return f'<a href="#{target}">{text}</a>'


def _data(summaries: Mapping[Path, DataSummary], benchmarks: Sequence[str]) -> Iterable[str]:
    # A folder is named by its benchmark's slug; the only benchmark needs none.
    by_slug = {slug(benchmark): benchmark for benchmark in benchmarks}
    order = sorted(summaries, key=lambda path: _place(path.parent.name, list(by_slug)))
    for number, path in enumerate(order):
        yield data_section(number, by_slug.get(path.parent.name, benchmarks[0]), summaries[path])


def _table(name: str, table: Table) -> str:
    rows = [
        "".join(f'<td class="label">{escape(text)}</td>' for text in row.head)
        + "".join(
            _score(benchmark, entry, metric, with_paper=_has_paper(table, index))
            for index, (benchmark, entry) in enumerate(zip(table.benchmarks, row.entries, strict=True))
            for metric in PRINTED
        )
        for row in table.rows
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    # In the page itself, which may be passed on without its folder.
    files = " · ".join(
        f'<a download="{name}.{suffix}" href="data:text/plain;base64,{_base64(text.encode())}">{label}</a>'
        for label, suffix, text in (("CSV", "csv", as_csv(table)), ("LaTeX", "tex", as_latex(table)))
    )
    tag = '<table class="several">' if len(table.benchmarks) > 1 else "<table>"
    return (
        f'<section id="{name}">\n<h2>{escape(table.title)}</h2>\n{tag}\n<thead>{_head(table)}</thead>\n'
        f'<tbody>\n{body}\n</tbody>\n</table>\n<ul class="notes">{notes}</ul>\n<p class="files">{files}</p>\n</section>'
    )


def _has_paper(table: Table, index: int) -> bool:
    return any(row.entries[index].published for row in table.rows)


def _head(table: Table) -> str:
    labels = "".join(f'<th class="label">{escape(text)}</th>' for text in table.head)
    scores = "".join(
        _score_cell("th", label, "paper", "Δ") if _has_paper(table, index) else _score_cell("th", label)
        for index in range(len(table.benchmarks))
        for label in PRINTED.values()
    )
    if len(table.benchmarks) == 1:
        return f"<tr>{labels}{scores}</tr>"
    groups = "".join(f'<th class="group" colspan="{len(PRINTED)}">{escape(name)}</th>' for name in table.benchmarks)
    return f'<tr><th colspan="{len(table.head)}"></th>{groups}</tr>\n<tr>{labels}{scores}</tr>'


def _score(benchmark: str, entry: Entry, name: str, *, with_paper: bool) -> str:
    # A narrow cell breaks before the deviation, never inside it.
    text = escape(score_text(entry, name)).replace("± ", "±&nbsp;")
    if entry.ours:
        text = _link(anchor(benchmark, entry.ours.configuration), text)
    if not with_paper:
        return _score_cell("td", text)
    published: Published = entry.published or (None, None)
    number = published[list(PRINTED).index(name)] or MISSING
    return _score_cell("td", text, number, signed(delta(entry.ours, name, published)))


def _score_cell(tag: str, ours: str, *beside: str) -> str:
    spans = "".join(
        f'<span class="{kind}">{escape(text)}</span>' for kind, text in zip(("paper", "delta"), beside, strict=False)
    )
    alone = "" if beside else " alone"
    return f'<{tag} class="score{alone}"><span class="ours">{ours}</span>{spans}</{tag}>'


def _figures(figures: Sequence[Path], benchmarks: Sequence[str]) -> Iterable[str]:
    if figures:
        yield '<h2 id="figures">Figures</h2>'
    by_slug = {slug(benchmark): benchmark for benchmark in benchmarks}
    folders, names = list(by_slug), list(_CAPTIONS)
    for path in sorted(figures, key=lambda path: (_place(path.parent.name, folders), *_kind(path.stem, names))):
        of, (kind, _, backbone) = by_slug.get(path.parent.name), path.stem.partition("-")
        told = f"{_CAPTIONS[kind]}{f' On {backbone}.' if backbone else ''}" if kind in _CAPTIONS else path.stem
        caption = escape((f"{of}. " if of else "") + told)
        image = _base64(path.read_bytes())
        yield (
            # A box that is checked by a click or the space bar makes the picture large, without a script.
            f'<figure class="{escape(kind)}"><label class="large"><input type="checkbox" aria-label="large">'
            f'<img alt="{caption}" src="data:image/png;base64,{image}"></label>'
            f"<figcaption>{caption}</figcaption></figure>"
        )


def _kind(stem: str, kinds: Sequence[str]) -> tuple[int, str]:
    """Order figures by what they show, then by backbone."""
    kind, _, backbone = stem.partition("-")
    return _place(kind, kinds), backbone


def _place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _lineage(report: Report) -> Iterable[str]:
    yield '<h2 id="lineage">Lineage</h2>\n<p>What each number comes from; every number in a table links here.</p>'
    for name, runs in sections(report).items():
        yield f"<details><summary>{escape(f'{runs[0].configuration} on {runs[0].benchmark}')}</summary>"
        # A link to something inside opens the details.
        yield f'<div id="{name}">'
        for run in runs:
            yield f"<h3>{escape(run.run)}</h3>"
            yield f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in facts(run))}</dl>"
        yield "</div></details>"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
