"""Markdown files by hand: tables, and strings that stay text. Not here: sentences of the report."""

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; its cells are Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def literal(text: object) -> str:
    """A string from outside, such as a record's, as code: whatever it holds, it is shown."""
    return f"`{' '.join(re.sub('[`|]', ' ', str(text)).split())}`"


def code(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip()}\n```"
