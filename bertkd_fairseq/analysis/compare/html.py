"""Write a comparison as one HTML file, which loads no script, font or picture from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from bertkd_fairseq import __version__
from bertkd_fairseq.analysis.compare.comparison import Comparison, Example
from bertkd_fairseq.analysis.compare.plots import Plot, draw_plots
from bertkd_fairseq.analysis.compare.text import (
    Table,
    difference_table,
    example_lines,
    example_title,
    examples_by_system,
    examples_title,
    length_table,
    repetition_table,
    score_notes,
    score_table,
    signature_lines,
)
from bertkd_fairseq.analysis.compare.translations import System
from bertkd_fairseq.analysis.styles import report_style


def format_html(comparison: Comparison, reference: str, systems: Sequence[System]) -> str:
    """Return the report. ``reference`` is the path of the reference; ``systems`` hold the paths of the translations."""
    style = report_style("bertkd_fairseq.analysis.compare", "compare.css")
    names = list(comparison.scores)
    title = " against ".join([", ".join(names[1:]), names[0]]) if names[1:] else names[0]
    sections = [_scores(comparison), *_details(comparison), *_examples(comparison)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            f"<header><h1>{escape(title)}</h1></header>",
            f"<main>{''.join(sections)}{_files(reference, systems)}</main>",
            f"<footer>bertkd-fairseq {__version__}</footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _scores(comparison: Comparison) -> str:
    tables = [_table(score_table(comparison), "By system")]
    if len(comparison.scores) > 1:
        tables.append(_table(difference_table(comparison), "Against the first system"))
    notes = "".join(f"<p>{escape(note)}</p>" for note in score_notes(comparison))
    signatures = "\n".join(map(escape, signature_lines(comparison)))
    return _section("Scores", *tables, notes, f"<pre>{signatures}</pre>")


def _details(comparison: Comparison) -> list[str]:
    plots = "".join(map(_plot, draw_plots(comparison)))
    target = comparison.target
    lengths = _table(
        length_table(comparison), f"BLEU by length of the reference, in {target.lengths}"
    )
    caption = f"N-grams of {target.ngrams} repeated within a sentence, in percent"
    repeated = _table(repetition_table(comparison), caption)
    return [
        _section("Plots", f'<div class="plots">{plots}</div>'),
        _section("Numbers of the plots", lengths, repeated),
    ]


def _examples(comparison: Comparison) -> list[str]:
    first = next(iter(comparison.scores))
    return [
        _section(examples_title(first, system), *map(_example, examples))
        for system, examples in examples_by_system(comparison).items()
    ]


def _example(example: Example) -> str:
    # dir="auto": each sentence runs from right to left if its own letters do.
    lines = "".join(
        f'<dt>{escape(label)}</dt><dd dir="auto">{escape(text) or "<i>(empty)</i>"}</dd>'
        for label, text in example_lines(example)
    )
    return f"<article><h3>{escape(example_title(example))}</h3><dl>{lines}</dl></article>"


def _files(reference: str, systems: Sequence[System]) -> str:
    rows = [["what", "file", "format"], ["reference", reference, "text"]]
    rows += [[system.name, str(run.path), run.format] for system in systems for run in system.runs]
    return _section("Files", _table(rows, "What was read", css="words"))


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>\n"


def _table(rows: Table, caption: str, css: str = "numbers") -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(
            f'<td data-column="{escape(column)}">{escape(cell)}</td>'
            for column, cell in zip(rows[0][1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows[1:]
    )
    # A table that is wider than the page scrolls separately, also by keyboard. On a phone it becomes a list.
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{css}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _plot(plot: Plot) -> str:
    # As data URLs, because the ids inside several SVGs would clash in one page.
    data = base64.b64encode(plot.svg.encode()).decode()
    return (
        f'<figure><h3>{escape(plot.title)}</h3><img src="data:image/svg+xml;base64,{data}" '
        f'alt="{escape(plot.title)}"><figcaption>{escape(plot.description)}</figcaption></figure>'
    )
