"""Sentences, tables and figures as a notebook's outputs, their values filled in and escaped.

The one place where a value becomes part of a page: each is marked there (`<span class="value">`),
with what it rests on. Not here: what that is (`sources`), how the page looks, and the numbers of
figures and tables, which follow from their order on the page (`render`).

A template is Markdown with `str.format` placeholders, attributes and formats included. A value is
shown literally whatever it holds, and so is HTML in a template; None and NaN are shown as a dash,
truth as yes or no, a list as in prose. `[](#fig-NAME)` and `[](#tab-NAME)` refer to a figure and a
table; `render` fills them.

`source` tells what values rest on that do not come from the runs, see `sources`; no value can have
that name.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from html import escape, unescape
from numbers import Integral, Number, Real
from string import Formatter
from typing import NamedTuple

import matplotlib.pyplot as plt
import mistune
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from fmnist_lib.reporting import sources
from fmnist_lib.reporting.sources import Row, Source
from fmnist_lib.reporting.style import to_svg
from fmnist_lib.reporting.words import join

DASH = "–"  # stands for what was not measured
_START, _END = "\ue000", "\ue001"  # around a value's number while Markdown is read; private use
_PLACE = re.compile(f"{_START}([0-9]+){_END}")
_TAG = re.compile(r"<[^>]*>")  # attributes hold no bare ">": mistune escapes it
_REFERENCE = re.compile(r'<a href="#([^"]+)"></a>')
_NUMBER = re.compile(  # a number or place, not part of a word nor of the name of an interval
    r"(?<![\w.,-])([+−]?\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th)?)(?![\w-]|\s% interval)"
)
_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_markdown = mistune.create_markdown(escape=True)


# --- notebook outputs ---


def say(template: str, /, *, source: Source = "", **values: object) -> None:
    """Show Markdown with values filled in: `say("It takes {time:.1f} s.", time=3.14)`.

    Raises:
        KeyError: a placeholder's value is not given, or `source` tells of one that is not.
        ValueError: a placeholder in an address, with a conversion (`!r`), or of a private name.
    """
    sources.check(source, values)
    html = prose(template, source=source, **values)
    _show(f'<div class="say">{html}</div>', plain(html))


def show_table(
    frame: pd.DataFrame,
    /,
    *,
    name: str,
    caption: str,
    formats: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    best: Mapping[str, str] | None = None,
    source: Source = "",
    **values: object,
) -> None:
    """Show a frame, without its index, as the table `tab-<name>`.

    `formats` gives the format of a column's values (else `".2f"`, and `","` for whole numbers),
    `columns` its heading, `best` whether `"max"` or `"min"` stands in bold. All go by the frame's
    names, but two kinds of columns are joined: `x_std` stands behind `x` or `x_mean`, as
    `x ± x_std`; `x_low` and `x_high` become `x_interval`, in the format of `x`. `values` fill the
    caption. The numbers within a column of words are marked if `source` names that column.

    Raises:
        KeyError: an option names a column that the table does not have.
    """
    formats, columns, best = formats or {}, columns or {}, best or {}
    cells = table_cells(frame, formats, best)
    if unknown := {*formats, *columns, *best} - {*cells}:
        raise KeyError(f"no column {join(sorted(unknown))} in the table; there are {join(cells)}")
    sources.check(source, {*cells, *values})
    headings = [columns.get(column, column) for column in cells]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = _body(name, frame, cells, formats, source)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    rows = zip(*cells.values(), strict=True)
    texts = pd.DataFrame([[cell.text for cell in row] for row in rows], columns=headings)
    caption = f"<figcaption>{inline(caption, source=source, **values)}</figcaption>"
    html = f'<figure class="table" id="{_identifier("tab", name)}">{caption}{table}</figure>'
    _show(html, texts.to_string(index=False))


def show_figure(
    figure: Figure,
    /,
    *,
    name: str,
    caption: str,
    alt: str,
    source: Source = "",
    **values: object,
) -> None:
    """Show a figure as the image `fig-<name>` and close it.

    `alt` says in words what the figure shows, for readers who cannot see it; `values` fill it and
    the caption.
    """
    sources.check(source, values)
    words = plain(inline(alt, **values))
    caption = f"<figcaption>{inline(caption, source=source, **values)}</figcaption>"
    data = base64.b64encode(to_svg(figure)).decode()
    width, height = (f"{96 * inches:.0f}" for inches in figure.get_size_inches())
    size = f'width="{width}" height="{height}"'  # its place is kept until it is drawn
    image = f'<img alt="{escape(words)}" {size} src="data:image/svg+xml;base64,{data}">'
    html = f'<figure class="figure" id="{_identifier("fig", name)}">{image}{caption}</figure>'
    _show(html, f"Figure: {words}")
    plt.close(figure)  # else a notebook that made it through pyplot shows it twice


def _show(html: str, text: str) -> None:
    display({"text/html": html, "text/plain": text}, raw=True)


def _identifier(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: allowed are a-z, 0-9, and - or _ between them")
    return f"{kind}-{name}"


# --- values ---


def shown(value: object, spec: str = "") -> str:
    """A value as text: `spec` as for `format`; a dash for None and NaN; lists as in prose."""
    if isinstance(value, str):
        return format(value, spec)
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return DASH
    if isinstance(value, bool | np.bool_):
        return format("yes" if value else "no", spec)
    if isinstance(value, Iterable):
        return join(shown(item, spec) for item in value)
    text = format(value, spec)
    return text.replace("-", "−", 1) if isinstance(value, Number) and text[0] == "-" else text


def marked(text: str, attributes: Mapping[str, str]) -> str:
    """A value's text as HTML that is marked as a value, with what it rests on."""
    about = "" if text == DASH else _written(attributes)
    return f'<span class="value"{about}>{escape(text)}</span>'


def _written(attributes: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if value)


def _number_beside(get: Callable[[str], object], spec: str | None) -> Callable[[str], str]:
    """What gives the text of a number by its name, in the format of the value it stands beside."""

    def text(name: str) -> str:
        value = get(name)
        known = isinstance(value, Number) and not pd.isna(value)
        return shown(value, _usual_format(value) if spec is None else spec) if known else ""

    return text


class _Found(NamedTuple):
    """A placeholder's value, and what it is an attribute of (None: of nothing)."""

    value: object
    path: str
    owner: object


class _Filler(Formatter):
    """Fills placeholders with what `place` makes of each value's text and attributes."""

    def __init__(self, place: Callable[[str, Mapping[str, str]], str], source: Source) -> None:
        self.place = place
        self.source = source

    def get_field(self, field_name: str, args: tuple, kwargs: Mapping) -> tuple[_Found, str]:
        if re.search(r"(^|\.)_", field_name):
            raise ValueError(f"{{{field_name}}}: private names are not shown")
        value, name = super().get_field(field_name, args, kwargs)
        attribute = re.fullmatch(r"(.*)\.\w+", field_name)
        owner = super().get_field(attribute[1], args, kwargs)[0] if attribute else None
        return _Found(value, field_name, owner), name

    def get_value(self, key: int | str, args: tuple, kwargs: Mapping) -> object:
        if key not in kwargs:
            raise KeyError(f"no value given for {{{key}}}; given are {join(kwargs)}")
        return kwargs[key]

    def convert_field(self, value: _Found, conversion: str | None) -> _Found:
        if conversion:
            raise ValueError(f"!{conversion}: conversions are not allowed in a template")
        return value

    def format_field(self, value: _Found, format_spec: str) -> str:
        path, owner = value.path, value.owner
        text = shown(value.value, format_spec)
        beside = _number_beside(lambda name: getattr(owner, name, None), format_spec)
        row = Row(model=sources.model_of(owner))  # a row of a table has one
        return self.place(text, sources.attributes(path, path, beside, self.source, row))


# --- Markdown ---


def prose(template: str, /, *, source: Source = "", **values: object) -> str:
    """The HTML of a template, its values marked. Raises as `say` does.

    The values take their places after Markdown is read, so that nothing in them acts as markup.
    """
    marks: list[str] = []

    def place(text: str, attributes: Mapping[str, str]) -> str:
        marks.append(marked(text, attributes))
        return f"{_START}{len(marks) - 1}{_END}"

    html = _markdown(_Filler(place, source).vformat(template, (), values))
    if sorted(map(int, _PLACE.findall(_TAG.sub("", html)))) != [*range(len(marks))]:
        raise ValueError(f"a placeholder stands where no text can, as in an address: {template!r}")
    html = _PLACE.sub(lambda match: marks[int(match[1])], html).strip()
    return html.replace(" %", "\N{NO-BREAK SPACE}%")


def inline(template: str, /, *, source: Source = "", **values: object) -> str:
    """As `prose`, for one paragraph, without its tags. Raises ValueError if there is more."""
    html = prose(template, source=source, **values)
    text = html.removeprefix("<p>").removesuffix("</p>")
    if html != f"<p>{text}</p>" or "<p>" in text:
        raise ValueError(f"not one paragraph: {template!r}")
    return text


def plain(html: str) -> str:
    """The text of HTML made here; an empty reference becomes the name it refers to."""
    text = unescape(_TAG.sub("", _REFERENCE.sub(r"\1", html)))
    return text.replace("\N{NO-BREAK SPACE}", " ")


# --- tables ---


class Cell(NamedTuple):
    """A table's cell: its text, whether that is a number, whether it is the best of its column."""

    text: str
    number: bool = False
    best: bool = False

    def html(self, attributes: Mapping[str, str], *, told: bool) -> str:
        """What stands in the cell; a number is marked as a value, one within words if `told`."""
        if self.number:
            content = marked(self.text, attributes)
        elif told:
            pieces = enumerate(_NUMBER.split(self.text))
            content = "".join(
                marked(piece, attributes) if place % 2 else escape(piece) for place, piece in pieces
            )
        else:
            content = escape(self.text)
        return f"<strong>{content}</strong>" if self.best else content


def table_cells(
    frame: pd.DataFrame, formats: Mapping[str, str], best: Mapping[str, str]
) -> dict[str, list[Cell]]:
    """The cells of each column, columns joined as `show_table` says.

    Whatever reads the same as the best value is set as the best: no more can be seen.
    """
    cells = {}
    for column in frame:
        stem, _, part = column.rpartition("_")
        if part == "low" and f"{stem}_high" in frame:
            ends = [_texts(frame[f"{stem}_{end}"], formats.get(stem)) for end in ("low", "high")]
            texts = [
                low if low == DASH else f"{low} – {high}" for low, high in zip(*ends, strict=True)
            ]
            cells[f"{stem}_interval"] = [Cell(text, number=True) for text in texts]
        elif not _joined(stem, part, frame):
            cells[column] = _cells(frame, column, formats.get(column), best.get(column))
    return cells


def _body(
    table: str,
    frame: pd.DataFrame,
    cells: Mapping[str, list[Cell]],
    formats: Mapping[str, str],
    source: Source,
) -> str:
    """The rows of a table, each with what it is about; a first cell in words is its heading."""
    lines = []
    for place, row in enumerate(sources.rows(frame)):
        tags: list[str] = []
        for column, in_column in cells.items():
            cell, at = in_column[place], f"{table}/{row.name}/{column}"
            spec = formats.get(column, formats.get(column.removesuffix("_interval")))
            beside = _number_beside(frame.iloc[place].get, spec)
            marks = sources.attributes(at, column, beside, source, row)
            tag = "td" if cell.number or tags else "th"
            content = cell.html(marks, told=not isinstance(source, str) and column in source)
            tags.append(f"<{tag}>{content}</{tag}>")
        about = _written({"data-model": row.model, "data-run": row.run})
        lines.append(f"<tr{about}>{''.join(tags)}</tr>")
    return "".join(lines)


def _joined(stem: str, part: str, frame: pd.DataFrame) -> bool:
    """Whether a column `<stem>_<part>` is shown within another."""
    hosts = {"std": (stem, f"{stem}_mean"), "high": (f"{stem}_low",)}.get(part, ())
    return any(host in frame for host in hosts)


def _cells(frame: pd.DataFrame, column: str, spec: str | None, best: str | None) -> list[Cell]:
    values = frame[column]
    texts = _texts(values, spec)
    numbers = [isinstance(value, Number) and not isinstance(value, bool) for value in values]
    top = _texts(values[values == values.agg(best)], spec)[:1] if best else []
    spreads = frame.get(f"{column.removesuffix('_mean')}_std")
    whole = texts if spreads is None else [*map(_beside, texts, _texts(spreads, spec))]
    cells = zip(whole, numbers, texts, strict=True)
    return [Cell(text, number, value in top) for text, number, value in cells]


def _beside(text: str, spread: str) -> str:
    """`14.0 ± 1.9`: a value with its standard deviation, both to as many decimals."""
    if spread == DASH:
        return text
    decimals = max(len(each.partition(".")[2]) for each in (text, spread))
    return " ± ".join(_to_decimals(each, decimals) for each in (text, spread))


def _to_decimals(text: str, decimals: int) -> str:
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<{decimals}}" if decimals else whole


def _texts(values: pd.Series, spec: str | None) -> list[str]:
    return [shown(v, _usual_format(v) if spec is None else spec) for v in values]


def _usual_format(value: object) -> str:
    """How a number reads where no format is given."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return ""
    return "," if isinstance(value, Integral) else ".2f"
