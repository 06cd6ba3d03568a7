"""Markup from notebooks → markup that can run nothing. Not here: values, which `show` escapes.

A notebook may come from elsewhere, and its outputs are pages' worth of HTML. Only what a report
needs passes; other elements are shown as text, other attributes left out.
"""

import re

import bleach
from bs4 import BeautifulSoup

UNSEEN = ("script", "style", "link", "meta", "base", "iframe", "object", "embed", "form")
"""Elements left out with all they hold, since nobody is meant to read it."""
_KEPT = (
    "a abbr b blockquote br caption cite code col colgroup dd del details div dl dt em figcaption "
    "figure h1 h2 h3 h4 h5 h6 hr i img kbd li mark ol p pre q s samp section small span strong sub "
    "summary sup table tbody td tfoot th thead tr u ul var"
)
_ATTRIBUTES = (
    "alt aria-label class colspan data-at data-files data-verdict height id lang open rowspan "
    "scope span src start title width"
)
LINK = re.compile(r"#.*|(https?:|mailto:).*|[^:]*", re.IGNORECASE | re.DOTALL)
EMBEDDED = re.compile(r"data:image/(svg\+xml|png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")


def sanitise(html: str) -> str:
    """Return the markup with nothing in it that runs, loads a frame or sends a form.

    Pictures are kept if they are embedded; `page` refuses others by name.
    """
    page = BeautifulSoup(html, "html.parser")
    for element in page.find_all(UNSEEN):
        element.decompose()
    return _cleaner.clean(str(page))


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and bool(LINK.fullmatch(value))
    if name == "src" and value.startswith("data:"):
        return bool(EMBEDDED.fullmatch(value))
    return name in _ATTRIBUTES.split()


_cleaner = bleach.Cleaner(
    tags=frozenset(_KEPT.split()),
    attributes=_allowed,
    protocols={"http", "https", "mailto", "data"},
)
