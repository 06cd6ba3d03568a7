"""Sentences, tables and figures as a notebook's outputs, their values filled in and escaped.

The one place where a value becomes part of a page: each is marked there (`<span class="value">`).
Not here: how the page looks, and the numbers of figures and tables, which follow from their order
on the page (`render`).

A template is Markdown with `str.format` placeholders, attributes and formats included. A value is
shown literally whatever it holds, and so is HTML in a template; None and NaN are shown as a dash,
truth as yes or no, a list as in prose. `[](#fig-NAME)` and `[](#tab-NAME)` refer to a figure and a
table; `render` fills them.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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

from fmnist_lib.reporting.style import to_svg
from fmnist_lib.reporting.words import join

DASH = "–"  # stands for what was not measured
_START, _END = "\ue000", "\ue001"  # around a value's number while Markdown is read; private use
_PLACE = re.compile(f"{_START}([0-9]+){_END}")
_TAG = re.compile(r"<[^>]*>")  # attributes hold no bare ">": mistune escapes it
_REFERENCE = re.compile(r'<a href="#([^"]+)"></a>')
_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_markdown = mistune.create_markdown(escape=True)


# --- notebook outputs ---


def say(template: str, /, **values: object) -> None:
    """Show Markdown with values filled in: `say("It takes {time:.1f} s.", time=3.14)`.

    Raises:
        KeyError: a placeholder's value is not given.
        ValueError: a placeholder in an address, with a conversion (`!r`), or of a private name.
    """
    html = prose(template, **values)
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
    **values: object,
) -> None:
    """Show a frame, without its index, as the table `tab-<name>`.

    `formats` gives the format of a column's values (else `".2f"`, and `","` for whole numbers),
    `columns` its heading, `best` whether `"max"` or `"min"` stands in bold. All go by the frame's
    names, but two kinds of columns are joined: `x_std` stands behind `x` or `x_mean`, as
    `x ± x_std`; `x_low` and `x_high` become `x_interval`, in the format of `x`. `values` fill the
    caption.

    Raises:
        KeyError: an option names a column that the table does not have.
    """
    formats, columns, best = formats or {}, columns or {}, best or {}
    cells = table_cells(frame, formats, best)
    if unknown := {*formats, *columns, *best} - {*cells}:
        raise KeyError(f"no column {join(sorted(unknown))} in the table; there are {join(cells)}")
    headings = [columns.get(column, column) for column in cells]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    rows = list(zip(*cells.values(), strict=True))
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    texts = pd.DataFrame([[cell.text for cell in row] for row in rows], columns=headings)
    caption = f"<figcaption>{inline(caption, **values)}</figcaption>"
    html = f'<figure class="table" id="{_identifier("tab", name)}">{caption}{table}</figure>'
    _show(html, texts.to_string(index=False))


def show_figure(figure: Figure, /, *, name: str, caption: str, alt: str, **values: object) -> None:
    """Show a figure as the image `fig-<name>` and close it.

    `alt` says in words what the figure shows, for readers who cannot see it; `values` fill it and
    the caption.
    """
    words = plain(inline(alt, **values))
    caption = f"<figcaption>{inline(caption, **values)}</figcaption>"
    data = base64.b64encode(to_svg(figure)).decode()
    image = f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{data}">'
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


def marked(text: str) -> str:
    """A value's text as HTML that is marked as a value."""
    return f'<span class="value">{escape(text)}</span>'


class _Filler(Formatter):
    """Fills placeholders with what `place` makes of each value's text."""

    def __init__(self, place: Callable[[str], str]) -> None:
        self.place = place

    def get_field(self, field_name: str, args: tuple, kwargs: Mapping) -> tuple[object, str]:
        if re.search(r"(^|\.)_", field_name):
            raise ValueError(f"{{{field_name}}}: private names are not shown")
        return super().get_field(field_name, args, kwargs)

    def get_value(self, key: int | str, args: tuple, kwargs: Mapping) -> object:
        if key not in kwargs:
            raise KeyError(f"no value given for {{{key}}}; given are {join(kwargs)}")
        return kwargs[key]

    def convert_field(self, value: object, conversion: str | None) -> object:
        if conversion:
            raise ValueError(f"!{conversion}: conversions are not allowed in a template")
        return value

    def format_field(self, value: object, format_spec: str) -> str:
        return self.place(shown(value, format_spec))


# --- Markdown ---


def prose(template: str, /, **values: object) -> str:
    """The HTML of a template, its values marked. Raises as `say` does.

    The values take their places after Markdown is read, so that nothing in them acts as markup.
    """
    texts: list[str] = []

    def place(text: str) -> str:
        texts.append(text)
        return f"{_START}{len(texts) - 1}{_END}"

    html = _markdown(_Filler(place).vformat(template, (), values))
    if sorted(map(int, _PLACE.findall(_TAG.sub("", html)))) != [*range(len(texts))]:
        raise ValueError(f"a placeholder stands where no text can, as in an address: {template!r}")
    html = _PLACE.sub(lambda match: marked(texts[int(match[1])]), html).strip()
    return html.replace(" %", "\N{NO-BREAK SPACE}%")


def inline(template: str, /, **values: object) -> str:
    """As `prose`, for one paragraph, without its tags. Raises ValueError if there is more."""
    html = prose(template, **values)
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

    @property
    def html(self) -> str:
        """What stands in the cell; a number is marked as a value."""
        content = marked(self.text) if self.number else escape(self.text)
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


def _row(cells: Sequence[Cell]) -> str:
    """The cells of a row; a first cell in words is its heading."""
    tags = ["td" if cell.number or place else "th" for place, cell in enumerate(cells)]
    return "".join(f"<{tag}>{cell.html}</{tag}>" for tag, cell in zip(tags, cells, strict=True))


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
    tails = [""] * len(texts)
    if spreads is not None:
        tails = ["" if text == DASH else f" ± {text}" for text in _texts(spreads, spec)]
    cells = zip(texts, tails, numbers, strict=True)
    return [Cell(text + tail, number, text in top) for text, tail, number in cells]


def _texts(values: pd.Series, spec: str | None) -> list[str]:
    return [shown(v, _usual_format(v) if spec is None else spec) for v in values]


def _usual_format(value: object) -> str:
    """How a number reads where no format is given."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return ""
    return "," if isinstance(value, Integral) else ".2f"
