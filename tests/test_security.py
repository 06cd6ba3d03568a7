"""Files that somebody sends run nothing: not on reading them, not in the report made of them."""

import base64
import hashlib
import io
import json
import re
import urllib.request

import psutil
import pypdf
from bs4 import BeautifulSoup
from made_report import code, page_of, shown, text
from matplotlib.figure import Figure
from nbformat.v4 import new_output, new_raw_cell

from fmnist_lib.execution.here import run_many
from fmnist_lib.paths import ROOT
from fmnist_lib.report import page as module
from fmnist_lib.report.show import say
from fmnist_lib.results.value import Value
from fmnist_lib.runs.config import make_config

HOSTILE = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    '"><img src=data:image/png;base64, onerror=alert(1)>',
    "<svg><script>alert(1)</script></svg>",
    "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>here</a>",
    "<a href='java\tscript:alert(1)'>here</a>",
    "<a href='&#106;avascript&colon;alert(1)'>here</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>here</a>",
    "<math><a xlink:href='javascript:alert(1)'>here</a></math>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='data:text/html,x'></object><embed src='data:text/html,x'>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=stylesheet href=https://example.org/><style>*{background:url(https://a.b/)}</style>",
    "<form action='javascript:alert(1)'><button formaction='javascript:alert(1)'>x</button></form>",
    "<details open ontoggle=alert(1)>x</details>",
    "<p style='background:url(javascript:alert(1))' tabindex=1 onfocus=alert(1) autofocus>x</p>",
    "<noscript><p title='</noscript><img src=data:image/png;base64, onerror=alert(1)>'></noscript>",
    "<!--><img src=data:image/png;base64, onerror=alert(1)>-->",
    "<template><img src=data:image/png;base64, onerror=alert(1)></template>",
    "<textarea></textarea><base href='https://example.org/'>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "<figure class=table data-files='javascript:alert(1) ../x.csv figures/../x.svg'>x</figure>",
    "<script type=application/json id=numbers>{}</script>",
    '<div class="cell" data-part="body">x</div>',
    "]]><?php alert(1) ?>",
]


def acts(page):
    """What on a page could run, frame, send or lead to a script."""
    found = page.find_all(["iframe", "object", "embed", "form", "base", "svg", "math", "template"])
    for tag in page.find_all(True):
        for name, value in tag.attrs.items():
            squeezed = re.sub(r"[\s\x00-\x1f]", "", "".join(value))
            leads = name in ("href", "src", "xlink:href", "action") and re.match(
                r"(javascript|vbscript|data:text|data:image/svg\+xml,)", squeezed, re.IGNORECASE
            )
            if name.startswith("on") or name in ("srcdoc", "formaction", "style") or leads:
                found.append(tag)
    return found


def assert_harmless(page):
    own = {file.read_text(encoding="utf-8").strip() for file in module.TEMPLATES.rglob("*.js")}
    *_, numbers = page.select("script#numbers")
    json.loads(numbers.string)
    assert {script.string.strip() for script in page("script")} == own | {numbers.string.strip()}
    assert len(page("script")) == len(own) + 1
    assert len(page.find_all("meta", {"http-equiv": True})) == 1
    assert not page.main.find_all(["style", "link", "meta"])
    assert acts(page) == []


RUNNING = (
    r"\b(pickle|cloudpickle|dill|joblib|shelve|marshal)\.\w*load|allow_pickle=True|read_pickle"
    r"|(torch\.load|torch\.jit\.load|yaml\.load)\((?!(?s:.{0,99})weights_only=True)"
    r"|(?<!\.)\b(eval|exec)\(|tarfile|zipfile|unpack_archive|extractall"
)


def test_no_file_is_read_in_a_way_that_runs_it_or_unpacked_to_where_it_says():
    for path in [*(ROOT / "fmnist_lib").rglob("*.py"), ROOT / "run_all.py"]:
        found = re.search(RUNNING, path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found[0]}"


def test_no_cell_of_any_kind_runs_anything():
    kinds = ("text/html", "text/markdown", "text/plain", "image/png", "image/svg+xml")
    cells = [text("[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1))")]
    for hostile in HOSTILE:
        error = new_output("error", ename=hostile, evalue=hostile, traceback=[hostile])
        outputs = [new_output("display_data", {kind: hostile}) for kind in kinds]
        cells += [text(hostile), text(f"## {hostile}"), text(f"[a]({hostile})")]
        cells += [code(hostile, new_output("stream", text=hostile), error, *outputs)]
    assert_harmless(page_of(*cells))


def test_what_is_not_shown_leaves_nothing_behind():
    """Raw cells, outputs of unknown kinds, styles."""
    kinds = ("javascript", "json", "pdf", "vnd.fmnist+json", "x-unknown")
    data = {f"application/{kind}": "alert(1)" for kind in kinds}
    styled = {"text/html": "<style>*{background:url(https://a.b/)}</style>x"}
    outputs = [new_output("display_data", each) for each in ({**data, "text/plain": "x"}, styled)]
    raw = new_raw_cell(" ".join(HOSTILE), metadata={"format": "text/html"})
    page = page_of(raw, code("1", *outputs))
    assert_harmless(page)
    assert len(page.select(".cell")) == 2  # the title, the outputs
    assert not re.search(r"alert|background", page.main.get_text())


def test_no_metadata_and_no_title_gets_in():
    hostile = '"><script>alert(1)</script>'
    words = {name: hostile for name in ("magics_language", "part", "notebook", "format", "alt")}
    output = new_output("display_data", {"text/html": "x"}, metadata={"text/html": words, **words})
    cell = code("1", output, tags=[h for h in HOSTILE if "," not in h])
    cell.metadata |= words | {"attachments": {"a": words}}
    who = {"authors": [{"name": hostile}], "title": hostile, "version": hostile}
    front = {"title": hostile, "subtitle": hostile, "date": hostile, "citation": who}
    numbers = {hostile: {"text": hostile, "value": 1.0, "sources": ["</script>" + hostile]}}
    page = page_of(cell, numbers=numbers, **front)
    assert_harmless(page)
    assert page.h1.string == hostile


def test_what_the_report_itself_shows_passes_unchanged(page):
    value = Value(91.25, ["vit_tiny-s0-113174520396", "paper"])
    cells = [shown(say, "**a** {x:.2f} % [b](https://arxiv.org/abs/1708.07747) *c*", x=value)]
    ours = cells[0].outputs[0].data["text/html"]
    assert page_of(*cells).select_one(".say") == BeautifulSoup(ours, "html.parser").div
    assert_harmless(page)
    for mark in ("span.value[data-at]", "tr[data-verdict]", ".tiles a[aria-label]"):
        assert page.select(mark)


def test_the_page_lets_only_its_own_script_run_and_loads_nothing(monkeypatch):
    monkeypatch.setattr(module, "sanitise", lambda markup: markup)
    page = page_of(text("<script>alert(1)</script>"))  # had it slipped through
    foreign, _, own = page("script")
    assert (foreign.string, own.get("id")) == ("alert(1)", None)
    digest = base64.b64encode(hashlib.sha256(own.string.encode()).digest()).decode()
    assert page.find("meta", {"http-equiv": True})["content"] == (
        "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    for tag in page.find_all(["style", "script"]):
        assert not re.search(r"https?:", tag.string.replace("http://www.w3.org/2000/svg", ""))


def test_the_pdf_reads_no_file_but_its_fonts(tmp_path, monkeypatch):
    """Even if markup had slipped through that names one, or the network."""
    secret = tmp_path / "secret.png"
    Figure(figsize=(1, 1)).savefig(secret)
    address = secret.as_uri()
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/></svg>'
    embedded = base64.b64encode(svg.encode()).decode()
    asked, opened = [], urllib.request.OpenerDirector.open

    def ask(self, request, *rest, **more):
        asked.append(getattr(request, "full_url", request))
        return opened(self, request, *rest, **more)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", ask)
    page = (
        f'<html lang="en"><head><title>x</title><link rel="attachment" href="{address}">'
        f'<link rel="stylesheet" href="{address}"><style>@import url("{address}"); '
        f'p {{ background: url("{address}"), url("http://127.0.0.1:9/x") }}</style></head>'
        f'<body><main><p><a rel="attachment" href="{address}">x</a><img alt="a" src="{address}">'
        f'<img alt="b" src="data:image/svg+xml;base64,{embedded}"></p></main></body></html>'
    )
    assert not pypdf.PdfReader(io.BytesIO(module.render_pdf(page))).attachments
    assert asked
    assert all(url.startswith("data:") or url.endswith(".ttf") for url in asked)


def test_workers_listen_to_no_network():
    found, me = {}, psutil.Process()

    def look(*_):
        for process in (me, *me.children(recursive=True)):
            open_to = process.net_connections(kind="inet")
            found[process.pid] = [c for c in open_to if c.status == psutil.CONN_LISTEN]

    tiny = {"train_images": 20, "test_images": 10, "max_epochs": 1, "batch_size": 10}
    configs = [make_config(model="lenet5", seed=seed, **tiny) for seed in (0, 1)]
    assert len(list(run_many(configs, jobs=2, on_epoch=look))) == 2
    assert len(found) >= 3
    assert not any(found.values())
