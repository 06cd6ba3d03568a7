"""Markup from notebooks → markup that can run nothing. Not here: values, which `say` escapes.

A notebook may come from elsewhere, and its outputs are pages' worth of HTML. Only what a report
needs passes; other elements are shown as text, other attributes left out.
"""

import re

import bleach
from bs4 import BeautifulSoup

UNSEEN = ("script", "style", "link", "meta", "base", "iframe", "object", "embed", "form")
"""Elements left out with all they hold, since nobody is meant to read it."""

TAGS = frozenset(
    (
        *("a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "kbd", "mark", "q", "s"),
        *("samp", "small", "span", "strong", "sub", "sup", "u", "var"),
        *("blockquote", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "hr", "li"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "section", "summary", "ul"),
        *("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    )
)
EVERYWHERE = {"class", "id", "lang", "title"}
ATTRIBUTES = {
    "a": {"href"},
    "col": {"span"},
    "details": {"open"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start"},
    "span": {"data-at", "data-source", "data-spread"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "tr": {"data-model", "data-run"},
}
LINK = re.compile(r"#.*|(https?:|mailto:).*|[^:]*", re.IGNORECASE | re.DOTALL)
NAMES = re.compile(r"[\w:/ -]*", re.ASCII)  # of runs and models, which a script may look up
EMBEDDED = re.compile(r"data:image/(svg\+xml|png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")


def sanitise(html: str) -> str:
    """Return the markup with nothing in it that runs, loads a frame or sends a form.

    Pictures are kept if they are embedded; `render` refuses others by name.
    """
    if "<" in html:
        page = BeautifulSoup(html, "html.parser")
        for element in page.find_all(UNSEEN):
            element.decompose()
        html = str(page)
    return _cleaner.clean(html)


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and bool(LINK.fullmatch(value))
    if name == "src" and value.startswith("data:"):
        return tag == "img" and bool(EMBEDDED.fullmatch(value))
    if name in ("data-source", "data-run", "data-model") and not NAMES.fullmatch(value):
        return False
    return name in EVERYWHERE or name in ATTRIBUTES.get(tag, ())


_cleaner = bleach.Cleaner(
    tags=TAGS, attributes=_allowed, protocols={"http", "https", "mailto", "data"}
)
