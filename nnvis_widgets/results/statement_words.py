"""Statements in words: a table for a notebook or a file, a card for one of them.

May import: results.claims. Colours never say anything alone: each verdict has an icon and its word.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .claims import FAILS, HOLDS, IN_PART, MISSING, UNDECIDED

if TYPE_CHECKING:
    from .statements import Statements

# Okabe and Ito's colours, and marks that are told apart without them
COLOURS = {
    HOLDS: ("#009E73", "o"),
    IN_PART: ("#E69F00", "D"),
    FAILS: ("#D55E00", "X"),
    UNDECIDED: ("#7F7F7F", "s"),
    MISSING: ("#BBBBBB", "."),
}
ICONS = {HOLDS: "✔", IN_PART: "◐", FAILS: "✘", UNDECIDED: "?", MISSING: "–"}
_LINE = "1px solid rgba(127,127,127,.35)"
_CELL = f"text-align:left;vertical-align:top;padding:.4em .7em;border-bottom:{_LINE};white-space:normal;background:transparent"
SMALL = "font-size:88%;opacity:.8"


def plain(value: float) -> str:
    """Return a number with about three digits, and no power of ten where it can be read without.

    Examples
    --------
    >>> [plain(value) for value in (0.0, 97.53, -0.01234, 1000.0, 2.5e-7)]
    ['0', '97.5', '-0.0123', '1000', '2.5e-07']
    """
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0 or size >= 1e5 or size < 1e-4:
        return f"{value:.3g}"
    return f"{value:.{max(0, min(4, 2 - math.floor(math.log10(size))))}f}"


def number(value: float, low: float, high: float, unit: str) -> str:
    """Return a number with its interval, and without one where that has no width."""
    unit = f" {unit}" if unit else ""
    return f"{plain(value)}{unit}" if low == high else f"{plain(value)}{unit} [{plain(low)}, {plain(high)}]"


def rule(what: str, above: bool, bound: float, unit: str) -> str:
    """Return a claim in words."""
    unit = f" {unit.removesuffix('s') if bound == 1 else unit}" if unit else ""
    return f"{what} {'>' if above else '<'} {bound:.3g}{unit}"


def tally(verdict: str, words: list[str]) -> str:
    """Return a verdict, and where runs do not agree how many say what."""
    if len(set(words)) < 2:
        return verdict
    return f"{verdict} ({', '.join(f'{words.count(word)} {word}' for word in ICONS if word in words)})"


def badge(word: str, counted: str = "") -> str:
    """Return a verdict as HTML: icon, word, and what runs that disagree say."""
    rest = counted.removeprefix(word).strip()
    more = f"<div style='{SMALL}'>{html.escape(rest)}</div>" if rest else ""
    return (
        f'<span style="white-space:nowrap;border-left:.3em solid {COLOURS[word][0]};padding-left:.45em">{ICONS[word]} '
        f"<b>{html.escape(word)}</b></span>{more}"
    )


def overview(found: Statements) -> str:
    """Return all statements as an HTML table: where, what and by which rule, numbers and verdict of each group, the verdict."""
    groups = found.group_names
    rows = []
    for at, key in enumerate(found.keys):
        cells = [
            f"{badge(found.verdict(key))}<div style='margin-top:.3em'>{html.escape(found.where[at])}</div>"
            f"<div style='{SMALL}'>{html.escape(key)}</div>",
            f"{html.escape(found.says[at])}<div style='{SMALL}'>{html.escape(found.source[at])}. "
            f"Holds if{_numbered(found.rule(key))}</div>",
        ]
        for group in groups:
            numbers = found.numbers(key, group)
            lines = f"<div style='{SMALL};margin-top:.3em;white-space:nowrap'>{_numbered(numbers)}</div>" if any(numbers) else ""
            cells.append(badge(found.verdict(key, group), found.counted(key, group)) + lines)
        rows.append(cells)
    widths = [9, 20, *(10 for _ in groups)]
    return html_table(["all runs", "statement", *groups], rows, widths) + f"<p style='{SMALL}'>{_legend(found)}</p>"


def card(found: Statements, key: str) -> str:
    """Return one statement as HTML: what it says, each claim's number in each group, the verdicts, and what to know of it."""
    return cards({"": found}, key)


def cards(parts: Mapping[str, Statements], key: str) -> str:
    """Return one statement as HTML as `card` does, with the numbers and verdicts of several data sets one after the other."""
    first = next(iter(parts.values()))
    at = first.keys.index(key)
    words = {found.verdict(key) for found in parts.values()}
    colour = COLOURS[words.pop()][0] if len(words) == 1 else "rgba(127,127,127,.6)"  # of no verdict where they differ
    remark = f"<div style='opacity:.85;margin-top:.3em'>{html.escape(first.remark[at])}</div>" if first.remark[at] else ""
    return (
        f"<div style='border:{_LINE};border-left:.4em solid {colour};padding:.6em .9em;max-width:62em'>"
        f"<div style='{SMALL}'>{html.escape(first.where[at])} · {html.escape(first.source[at])}</div>"
        f"<div style='font-size:110%;margin:.2em 0 .4em'>{html.escape(first.says[at])}</div>"
        f"{''.join(_answered(name, found, key) for name, found in parts.items())}{remark}</div>"
    )


def _answered(name: str, found: Statements, key: str) -> str:
    """Return what one data set says to a statement: the verdict of all its runs, then number by number in each group."""
    groups = found.group_names
    columns = {group: found.numbers(key, group) for group in groups}
    rows = []
    for line, words in enumerate(found.rule(key)):
        rows.append([_kept(words), *(_kept(columns[group][line]) or "–" for group in groups)])
    rows.append(["", *(badge(found.verdict(key, group), found.counted(key, group)) for group in groups)])
    title = f"<span style='margin-right:.8em'>{html.escape(name)}</span>" if name else ""
    top = f"<div style='margin-top:.5em'>{title}{badge(found.verdict(key))}</div>"
    return top + html_table(["holds if", *groups], rows, [12, *(6 for _ in groups)])


def table(found: Statements) -> str:
    """Return all statements as a Markdown table."""
    groups = found.group_names
    heads = ["where", "statement", "holds if", *groups, "verdict"]
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    for at, key in enumerate(found.keys):
        cells = [found.where[at], found.says[at], "; ".join(found.rule(key))]
        for group in groups:
            numbers = "; ".join(line or "–" for line in found.numbers(key, group))
            cells.append(found.counted(key, group) + (f": {numbers}" if numbers.strip("–; ") else ""))
        word = found.verdict(key)
        lines.append(" | ".join(cell.replace("|", "\\|") for cell in [*cells, f"{ICONS[word]} {word}"]))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _legend(found: Statements) -> str:
    return html.escape(
        f"Runs: {', '.join(found.runs)}. Numbers: the mean over the runs of a column, in brackets from where to where their 95 % "
        f"intervals reach; n = {found.n}. A statement holds in a run where each interval lies on the claimed side of its bound, in "
        "part where some do, not where none does and at least one lies on the other side; else it is undecided."
    )


def _numbered(lines: list[str]) -> str:
    """Return lines, with numbers before them where there are several, so that they are found again in another column."""
    marks = [f"{number}. " if len(lines) > 1 else "" for number in range(1, len(lines) + 1)]
    return "".join(f"<div>{mark}{_kept(line) or '–'}</div>" for mark, line in zip(marks, lines, strict=True))


def _kept(words: str) -> str:
    """Return a rule or a number as HTML that is broken before its sign or its interval at most, if there is one."""
    at = max(words.rfind(sign) for sign in (" > ", " < ", " ["))
    return html.escape(words[: at + 1]) + html.escape(words[at + 1 :]).replace(" ", "&nbsp;")


def html_table(heads: list[str], rows: list[list[str]], widths: list[int] | None = None) -> str:
    """Return an HTML table from cells of HTML; where the page is narrower than its columns may be, the table scrolls.

    Parameters
    ----------
    heads : list of str
    rows : list of list of str
    widths : list of int, optional
        What each column takes at least, in em.
    """
    least = [f";min-width:{width}em" for width in widths] if widths else [""] * len(heads)
    top = "".join(f"<th style='{_CELL}{size}'>{html.escape(head)}</th>" for head, size in zip(heads, least, strict=True))
    body = "".join("<tr>" + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        "<div style='overflow-x:auto'><table style='border-collapse:collapse;margin:.2em 0;font-size:95%'>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )
