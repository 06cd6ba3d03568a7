"""Sentences, tables, figures and claims as a notebook's outputs, each number marked and escaped.

The one place where a number becomes part of a page: `<span class="value" data-at="ADDRESS">`, and
beside the output a bundle that says by address what the number is and rests on, and holds the
files that the output is published as (`files.collect` takes it). Not here: how the page looks.

A template is Markdown with `str.format` placeholders, attributes and formats included; whatever a
value holds is shown literally, and so is HTML in a template. A number must be a `Value`, of which
`{x.low:.2f}`, `{x.high:.2f}`, `{x.std:.2f}` and `{x.interval:.2f}` ("1.20 to 3.40") are shown too.
None and NaN are a dash, names are listed. An address is `NAME/placeholder`, in tables
`TABLE/ROW/COLUMN`. `[](#fig-NAME)`, `[](#tab-NAME)` and the like refer to a figure or table,
`#claim-ID` to a row of the claims; the page fills them.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from math import isfinite
from string import Formatter
from typing import Any

import mistune
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from fmnist_lib.claims.verdicts import Sentence
from fmnist_lib.report.figures.style import image_files
from fmnist_lib.report.files import BUNDLE, Numbers, add_number
from fmnist_lib.results.columns import column, heading
from fmnist_lib.results.tables import flat, to_csv
from fmnist_lib.results.value import Value

DASH = "–"  # stands for what was not measured
UNTRUE = "not so in these runs"
VERDICTS = {"holds": "✓", "holds in part": "◐", "does not hold": "✗", "undecided": "?"}
SHORT_CELL = 16  # characters of a cell, such as a model's name, that stays on one line
LONG_TABLE = 2000  # characters of a table: beyond, it may go on over a printed page
_SPREAD = ("std", "low", "high")
_START, _END = "\ue000", "\ue001"  # around a value's place while Markdown is read; private use
_PLACE = re.compile(f"{_START}([0-9]+){_END}")
_TAG = re.compile(r"<[^>]*>")  # attributes hold no bare ">": it is escaped
_markdown = mistune.create_markdown(escape=True)


# --- for notebooks ---


def say(template: str, /, *, true_if: object = True, name: str = "", **values: object) -> None:
    """Show Markdown with values filled in: `say("It takes {time:.1f} s.", time=seconds)`.

    Where `true_if` is false the words are struck: these runs do not bear them out. `name` begins
    the addresses of the numbers, else the first five words do. Raises KeyError for a placeholder
    without a value, TypeError for a number that is no `Value` with sources, and ValueError for a
    placeholder in an address.
    """
    output = _Output()
    words = re.findall(r"[a-z0-9]+", re.sub(r"{[^}]*}", "", template.lower()))
    html = output.fill(template, values, name or "-".join(words[:5]))
    if not true_if:
        html = f'<del>{html}</del><p class="untrue">{UNTRUE}</p>'
    output.show(f'<div class="say">{html}</div>')


def show_table(
    frame: pd.DataFrame,
    /,
    *,
    name: str,
    caption: str,
    columns: Sequence[str] | None = None,
    best: Mapping[str, str] | None = None,
    **values: object,
) -> None:
    """Show columns of a frame, without its index, as the table `tab-<name>`.

    Headings, units and formats are the catalogue's. A mean with a standard deviation reads
    `91.24 ± 0.31`; the column `<x>_interval` shows the interval of `x`. `best` says of a column
    whether "max" or "min" stands in bold. The columns become `tables/<name>.csv`; `values` fill the
    caption. Raises KeyError for a column that neither frame nor catalogue has.
    """
    output, columns = _Output(), list(frame if columns is None else columns)
    cells, numeric = [], []
    for each in columns:
        stem = each if each in frame else each.removesuffix("_interval")
        part, spec = "spread" if stem == each else "interval", column(each).format
        which = (best or {}).get(each)
        top = as_text(Value(frame[stem].astype(float).agg(which)), spec) if which else DASH
        numeric.append(any(isinstance(x, Value) for x in frame[stem]))
        cells.append([])
        for row, x in zip(_row_names(frame), frame[stem], strict=True):
            html = output.mark(x, spec, f"{name}/{row}/{each}", part)
            bold = top != DASH and as_text(x, spec) == top
            cells[-1].append(f"<strong>{html}</strong>" if bold else html)
    rows = [("", row) for row in zip(*cells, strict=True)]
    kept = [each for each in frame if {each, f"{each}_interval"} & {*columns}]
    output.show_table(frame[kept], name, output.line(caption, values, name), columns, rows, numeric)


def show_figure(
    figure: Figure,
    /,
    *,
    name: str,
    caption: str,
    alt: str,
    data: pd.DataFrame | None = None,
    beside: str = "",
    **values: object,
) -> None:
    """Show a figure as the image `fig-<name>`, with the HTML `beside` it.

    It becomes `figures/<name>.svg` and `.png`, what it shows (`data`) `figures/<name>.csv`. `alt`
    says in words what it shows, for readers who cannot see it; `values` fill it and the caption.
    """
    output, saved = _Output(), image_files(figure)
    if data is not None:
        saved["csv"] = _csv(data)
    output.files = {f"figures/{name}.{kind}": file for kind, file in saved.items()}
    words = plain(_Output().line(alt, values, name))
    width, height = (f"{96 * inches:.0f}" for inches in figure.get_size_inches())
    image = (
        f'<div class="scroll"><img alt="{escape(words)}" width="{width}" height="{height}" '
        f'src="data:image/svg+xml;base64,{b64encode(saved["svg"]).decode()}"></div>'
    )
    image = f'<div class="opening">{beside}{image}</div>' if beside else image
    caption = f"<figcaption>{output.line(caption, values, name)}</figcaption>"
    kind = "figure photo" if b"<image" in saved["svg"] else "figure"  # whose colours mean something
    output.show(output.framed(kind, f"fig-{name}", image + caption))


def show_claims(judged: pd.DataFrame, /) -> None:
    """Show each claim (of `claims.judge_all`) with verdicts and evidence, as the `tab-claims`."""
    output, rows = _Output(), []
    for row in judged.itertuples(index=False):
        claim, where, depends, margins, evidence = (
            output.mark(getattr(row, part), "", f"claims/{row.id}/{part}")
            for part in ("claim", "where", "depends", "margins", "evidence")
        )
        ours = f"{_verdict(row.outcome)}<small> {depends}</small>"
        claim, evidence = f"{claim}<small> {where}</small>", f"{evidence}<small> {margins}</small>"
        attributes = f' id="claim-{row.id}" data-verdict="{row.outcome}"'
        verdicts = _verdict(row.in_paper), ours, _verdict(row.validated)
        rows.append((attributes, (row.id, claim, *verdicts, evidence)))
    columns = ("id", "claim", "in_paper", "outcome", "validated", "evidence")
    caption = "The paper’s claims, judged by its own tables, by our runs of its protocol, and by "
    caption += "runs whose epoch validation images chose. The evidence is that of its protocol."
    output.show_table(judged, "claims", caption, columns, rows, [False] * 6, kind="claims")


def show_tiles(judged: pd.DataFrame, figure: Figure, /, **options: Any) -> None:  # noqa: ANN401
    """Show the verdict on each claim as a tile, beside a figure: the report's first screen.

    A tile leads to the claim's row, so that `show_claims` must be called for the same page;
    `options` are those of `show_figure`, but for its name, `overview`.
    """
    tiles = ""
    for row in judged.itertuples(index=False):
        told = f"{row.id}: by the paper’s tables {row.in_paper}, in our runs {row.outcome}, with "
        told += f"validation images {row.validated}"
        three = row.in_paper, row.outcome, row.validated
        signs = "".join(_verdict(each, words=False) for each in three)
        link = f'<a href="#claim-{row.id}" aria-label="{told}">'
        tiles += f"<li>{link}<b>{row.id}</b>{signs}</a></li>"
    verdicts = (
        '<div class="verdicts"><p>The paper’s claims: by its own tables, in our runs, '
        "and where validation images choose the epoch</p>"
        f'<ol class="tiles">{tiles}</ol><p>{" ".join(map(_verdict, (*VERDICTS, "not tested")))}</p>'
        "</div>"
    )
    show_figure(figure, name="overview", beside=verdicts, **options)


# --- values ---


def as_text(value: object, spec: str = "", part: str = "") -> str:
    """A value as text, a number in the format `spec`: else whole ones as such, others by `.2f`.

    `part` may ask for its "interval", or for its "spread" behind it. Raises TypeError for a number
    that is not a Value, and for what is neither number nor text.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Value) and part == "interval":
        ends = [as_text(Value(end), spec) for end in value.interval]
        return DASH if DASH in ends else " to ".join(ends)
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return DASH
    if isinstance(value, Value):
        if spec in ("", ","):
            spec = ",.0f" if value.is_integer() else ".2f"
        if spec == ".3f" and 0 < value < 0.0005:  # it is not nothing
            return "< 0.001"
        text = format(float(value), spec)
        if text[0] == "-":
            text = text.replace("-", "−", 1) if re.search("[1-9]", text) else text[1:]
        if part != "spread" or not isfinite(value.std):
            return text
        std = as_text(Value(value.std), spec.removeprefix("+"))
        return f"{text} ±\N{NO-BREAK SPACE}{std}"  # may break before the sign
    names = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{value!r} is not shown: a number must be a Value, which has sources")
    *most, last = names or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def plain(html: str) -> str:
    """The text of HTML made here."""
    return unescape(_TAG.sub("", html)).replace("\N{NO-BREAK SPACE}", " ")


class _Output:
    """An output in the making: its numbers by address, its files by path."""

    def __init__(self) -> None:
        self.numbers: Numbers = {}
        self.files: dict[str, bytes] = {}

    def mark(self, value: object, spec: str, at: str, part: str = "") -> str:
        """A value as HTML; a number is marked with its address `at`, where all is told of it."""
        if isinstance(value, Sentence):
            return self.line(value.template, value.values, at)
        text = as_text(value, spec, part)
        if not isinstance(value, Value) or text == DASH:
            return escape(text)
        if not value.sources:
            raise TypeError(f"{at}: the number {text} has no sources")
        told = {"value": float(value), **{name: getattr(value, name) for name in _SPREAD}}
        told = {name: x if isfinite(x) else None for name, x in told.items()}
        told |= {"text": text, "parts": value.parts, "sources": list(value.sources)}
        add_number(self.numbers, at, told)
        return f'<span class="value" data-at="{escape(at)}">{escape(text)}</span>'

    def fill(self, template: str, values: Mapping[str, object], at: str) -> str:
        """The HTML of a template, its numbers marked with addresses that begin with `at`.

        Values take their places after Markdown is read, so that nothing in them acts as markup.
        """
        source, pieces = "", []
        for text, field, spec, _ in Formatter().parse(template):
            source += text
            if field is not None:
                value, part = _look_up(field, values)
                pieces.append(self.mark(value, spec, f"{at}/{field}", part))
                source += f"{_START}{len(pieces) - 1}{_END}"
        html = _markdown(source)
        if sorted(map(int, _PLACE.findall(_TAG.sub("", html)))) != [*range(len(pieces))]:
            raise ValueError(f"a placeholder where no text can stand, as an address: {template!r}")
        html = _PLACE.sub(lambda match: pieces[int(match[1])], html).strip()
        return html.replace(" %", "\N{NO-BREAK SPACE}%")

    def line(self, template: str, values: Mapping[str, object], at: str) -> str:
        """As `fill`, for one paragraph, without its tags."""
        return self.fill(template, values, at).removeprefix("<p>").removesuffix("</p>")

    def framed(self, kind: str, name: str, html: str) -> str:
        """A figure or table within its element, which says what files it can be had as."""
        files = " ".join(self.files)
        return f'<figure class="{kind}" id="{name}" data-files="{files}">{html}</figure>'

    def show(self, html: str) -> None:
        files = {path: b64encode(file).decode() for path, file in self.files.items()}
        bundle = {"numbers": self.numbers, "files": files}
        display({"text/html": html, "text/plain": plain(html), BUNDLE: bundle}, raw=True)

    def show_table(
        self,
        frame: pd.DataFrame,
        name: str,
        caption: str,
        columns: Sequence[str],
        rows: Sequence[tuple[str, Sequence[str]]],
        numeric: Sequence[bool],
        kind: str = "",
    ) -> None:
        """Show rows, (attributes, HTML cells); a first cell of words is its row's heading."""
        self.files[f"tables/{name}.csv"] = _csv(frame)
        tags = ['td class="numeric"' if number else "td" for number in numeric]
        for place, words in enumerate(zip(*(cells for _, cells in rows), strict=True)):
            if not numeric[place] and max(map(len, map(plain, words))) <= SHORT_CELL:
                tags[place] = 'td class="short"'
        heads = [tag.replace("td", 'th scope="col"') for tag in tags]
        head = _html_row(map(escape, map(heading, columns)), heads)
        if not numeric[0]:
            tags[0] = 'th scope="row"'
        body = "".join(_html_row(cells, tags, attributes) for attributes, cells in rows)
        table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
        kind = f"table {kind} {'long' * (len(plain(table)) > LONG_TABLE)}"
        html = f'<figcaption>{caption}</figcaption>\n<div class="scroll">{table}</div>'
        self.show(self.framed(kind, f"tab-{name}", html))


def _look_up(field: str, values: Mapping[str, object]) -> tuple[Any, str]:
    """What a placeholder stands for; an end or the spread of a Value rests on what that does."""
    owner, _, part = field.rpartition(".")
    if owner and part in (*_SPREAD, "interval"):
        of, _ = Formatter().get_field(owner, (), values)
        if isinstance(of, Value):
            return (of, part) if part == "interval" else (Value(getattr(of, part), of.sources), "")
    return Formatter().get_field(field, (), values)[0], ""


def _verdict(verdict: str, *, words: bool = True) -> str:
    """A verdict in its colour, with its sign."""
    kind = verdict.replace(" ", "-") if verdict in VERDICTS else "other"
    sign = f"<b>{VERDICTS.get(verdict, DASH)}</b>"
    return f'<span class="verdict {kind}">{sign}{f" {verdict}" * words}</span>'


def _html_row(cells: Iterable[str], tags: Sequence[str], attributes: str = "") -> str:
    html = " ".join(f"<{tag}>{cell}</{tag[:2]}>" for cell, tag in zip(cells, tags, strict=True))
    return f"<tr{attributes}>{html}</tr>\n"


def _row_names(frame: pd.DataFrame) -> list[str]:
    """Each row's name in addresses: its index, else its first cell, else its number."""
    numbered = pd.api.types.is_integer_dtype(frame.index)
    texts = frame.iloc[:, 0] if numbered else frame.index
    names = [re.sub(r"[^a-z0-9_]+", "-", str(text).lower()).strip("-") for text in texts]
    return names if len(set(names)) == len(names) else [str(n + 1) for n in range(len(frame))]


def _csv(frame: pd.DataFrame) -> bytes:
    """A frame as a file, its sentences in plain words."""
    words = {
        name: [plain(_Output().mark(x, "", "")) if isinstance(x, Sentence) else x for x in cells]
        for name, cells in frame.items()
    }
    return to_csv(flat(pd.DataFrame(words, index=frame.index, dtype=object)))
