"""Files that somebody sends run nothing: not on reading them, not in the report made of them."""

import ast
import base64
import html
import io
import json
import re
import shutil
import subprocess
import tarfile
import urllib.request

import psutil
import pypdf
import pytest
from bs4 import BeautifulSoup
from made_up import ENVIRONMENT, make_run
from matplotlib.figure import Figure
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
    new_raw_cell,
)

from fmnist_lib.data import obtain
from fmnist_lib.execution.here import run_many
from fmnist_lib.paths import ROOT
from fmnist_lib.reporting import render
from fmnist_lib.reporting.analysis import load_results
from fmnist_lib.reporting.numbering import ReportError
from fmnist_lib.reporting.protocol import machines
from fmnist_lib.reporting.sanitise import sanitise
from fmnist_lib.reporting.say import say, show_table
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.record import DamagedRecordError, decode, digest_json
from fmnist_lib.runs.store import RunStore

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
    "<form action='javascript:alert(1)'><button formaction='javascript:alert(1)'>x</button></form>",
    "<details open ontoggle=alert(1)>x</details>",
    "<p style='background:url(javascript:alert(1))' tabindex=1 onfocus=alert(1) autofocus>x</p>",
    "<noscript><p title='</noscript><img src=data:image/png;base64, onerror=alert(1)>'></noscript>",
    "<!--><img src=data:image/png;base64, onerror=alert(1)>-->",
    "<template><img src=data:image/png;base64, onerror=alert(1)></template>",
    "<textarea></textarea><base href='https://example.org/'>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    '<div class="cell" data-part="body">x</div>',
    "]]><?php alert(1) ?>",
]


PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
LOADERS = {"torch.load", "torch.jit.load", "yaml.load"}


def acts(page):
    """What on a page could run, frame, send or lead to a script."""
    found = page.find_all(["iframe", "object", "embed", "form", "base", "svg", "math", "template"])
    for tag in page.find_all(True):
        for name, value in tag.attrs.items():
            text = re.sub(r"[\s\x00-\x1f]", "", "".join(value))
            leads = name in ("href", "src", "xlink:href", "action") and re.match(
                r"(javascript|vbscript|data:text|data:image/svg\+xml,)", text, re.IGNORECASE
            )
            if name.startswith("on") or name in ("srcdoc", "formaction", "style") or leads:
                found.append(tag)
    return found


def page_of(*cells, **front):
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), *cells])
    return BeautifulSoup(
        render.render_html([notebook], **({"title": "A title"} | front)), "html.parser"
    )


def assert_harmless(page):
    own = {file.read_text(encoding="utf-8").strip() for file in render.TEMPLATES.rglob("*.js")}
    assert {script.string.strip() for script in page("script")} == own
    assert len(page.find_all("meta", {"http-equiv": True})) == 1
    assert acts(page) == []


# --- nothing pickled ---------------------------------------------------------------------------


def unsafe_loads(text):
    """What in a module would run what a file says; the names of errors may be imported."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module in PICKLERS:
            yield from (alias.name for alias in node.names if not alias.name.endswith("Error"))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        if (
            called.partition(".")[0] in PICKLERS | {"eval", "exec"}
            or (called in LOADERS and options.get("weights_only") != "True")
            or options.get("allow_pickle", "False") != "False"
            or called.endswith("read_pickle")
        ):
            yield called


@pytest.mark.parametrize(
    "path", [*(ROOT / "fmnist_lib").rglob("*.py"), ROOT / "run_all.py"], ids=lambda path: path.stem
)
def test_no_file_is_read_in_a_way_that_runs_it(path):
    assert list(unsafe_loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(content)",
        "pickle.Unpickler(file).load()",
        "from pickle import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "eval(text)",
    ],
)
def test_such_a_line_would_be_seen(line):
    assert list(unsafe_loads(line))
    assert not list(unsafe_loads("torch.load(path, weights_only=True); np.load(path)"))


# --- archives ----------------------------------------------------------------------------------


def test_a_name_in_an_archive_leads_nowhere_else(place):
    """Files are taken by the four names we know, whatever else an unpacked package holds."""
    place.fill(place.system)
    (place.system / "..evil").write_text("evil")
    obtain.ensure_data(place.root)
    place.assert_complete()


def test_nothing_unpacks_archives_whose_members_name_their_own_place():
    """Only gzip, which holds one nameless file, and dpkg-deb, which refuses to climb."""
    for path in (ROOT / "fmnist_lib").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(tarfile|zipfile|unpack_archive|extractall)\b", text), path


def test_dpkg_deb_does_not_climb(tmp_path):
    """The real one, on a package whose members climb and lie below a link that leads away."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("this system has no dpkg-deb")

    def tar(members):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, content in members:
                member = tarfile.TarInfo(name)
                if isinstance(content, str):  # a link to there
                    member.type, member.linkname, content = tarfile.SYMTYPE, content, b""
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return stream.getvalue()

    outside = tmp_path / "outside"
    outside.mkdir()
    climbing = [("../climbed", b"evil"), ("./link", str(outside)), ("./link/evil", b"evil")]
    control = b"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": tar([("./control", control)]),
        "data.tar.gz": tar([*climbing, ("./good", b"good")]),
    }
    package = tmp_path / "x.deb"
    with package.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    folder = tmp_path / "in" / "unpacked"
    folder.parent.mkdir()
    subprocess.run(["dpkg-deb", "-x", package, folder], capture_output=True, check=False)
    assert not list(tmp_path.rglob("climbed")) or (folder / "climbed").exists()
    assert not (folder.parent / "climbed").exists()
    assert not list(outside.iterdir())


# --- a record from elsewhere -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "a/../../elsewhere"])
def test_a_record_cannot_name_a_place_outside_its_store(tmp_path, name):
    run = make_run(test_images=10)
    store = RunStore(tmp_path / "runs")
    store.write(run)
    path = store.folder / run.record.name / "record.json"
    content = run.record.model_dump(mode="json") | {"name": name}
    content["checksum"] = digest_json(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedRecordError):
        store.read(run.record.name)
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


def test_strings_in_a_record_are_text_in_the_report(tmp_path, monkeypatch):
    hostile = " ".join(HOSTILE)
    environment = ENVIRONMENT.model_copy(
        update={
            **dict.fromkeys(("python", "system", "cpu", "commit", "code_sha256"), hostile),
            "packages": {"torch": hostile, hostile: hostile},
            "notes": (hostile,),
        }
    )
    run = make_run(environment=environment, test_images=10, train_images=10)
    store = RunStore(tmp_path)
    store.write(run)
    assert decode(tmp_path / run.record.name / "record.json", type(run.record)) == run.record
    results = load_results(store, [run.record.config])
    outputs = []
    monkeypatch.setattr(
        "fmnist_lib.reporting.say.display", lambda data, raw: outputs.append(dict(data))
    )
    frame = machines(results)
    show_table(frame, name="machine", caption="The machine.")
    say("On {cpu}.", cpu=environment.cpu)
    page = page_of(*(shown(output) for output in outputs))
    assert_harmless(page)
    assert " ".join(hostile.split()) in " ".join(page.main.get_text().split())


def shown(data):
    return new_code_cell("x", outputs=[new_output("display_data", data)])


# --- a notebook from elsewhere -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "text/plain", "image/png"])
def test_outputs_of_a_notebook_run_nothing(kind):
    page = page_of(*(shown({kind: hostile}) for hostile in HOSTILE))
    assert_harmless(page)
    assert len(page.select(".cell[data-part]")) == len(HOSTILE) + 1


def test_words_and_code_of_a_notebook_run_nothing():
    cells = []
    for hostile in HOSTILE:
        error = new_output("error", ename=hostile, evalue=hostile, traceback=[hostile])
        cells += [
            new_markdown_cell(hostile),
            new_markdown_cell(f"## {hostile}"),
            new_markdown_cell(f"[a]({hostile})"),
            new_code_cell(hostile, outputs=[new_output("stream", text=hostile), error]),
        ]
    assert_harmless(page_of(*cells))


def test_an_address_that_is_a_script_is_no_link():
    page = page_of(new_markdown_cell("[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1))"))
    assert_harmless(page)


OTHERS = ("javascript", "json", "pdf", "vnd.jupyter.widget-view+json", "x-unknown")


@pytest.mark.parametrize(
    "kind", [f"application/{x}" for x in OTHERS] + ["text/latex", "image/jpeg"]
)
def test_outputs_of_other_kinds_are_left_out(kind):
    page = page_of(shown({kind: "alert(1)"}))
    assert_harmless(page)
    assert "alert(1)" not in page.main.get_text()


@pytest.mark.parametrize("form", ["text/html", "text/restructuredtext", "text/x-python", ""])
def test_a_raw_cell_shows_nothing_and_does_nothing(form):
    hostile = "<meta http-equiv=refresh content='0;url=https://example.org/'><style>*{}</style>x"
    page = page_of(new_raw_cell(hostile, metadata={"format": form, "raw_mimetype": form}))
    assert_harmless(page)
    assert len(page.select(".cell[data-part]")) == 1  # the title


def test_no_metadata_gets_in():
    hostile = '"><script>alert(1)</script>'
    words = {name: hostile for name in ("magics_language", "part", "notebook", "format", "alt")}
    output = new_output("display_data", {"image/png": "x"}, metadata={"image/png": words, **words})
    cell = new_code_cell("1", outputs=[output], metadata=words | {"attachments": {"a": words}})
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), cell], metadata={"name": hostile})
    notebook.metadata |= {"title": hostile, "widgets": words, "language_info": words}
    assert_harmless(BeautifulSoup(render.render_html([notebook], title="x"), "html.parser"))


def test_the_pdf_reads_no_file_but_its_fonts(tmp_path, monkeypatch):
    """Even if markup had slipped through that names one, or the network."""
    secret = tmp_path / "secret.png"
    Figure(figsize=(1, 1)).savefig(secret)
    address = secret.as_uri()
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/></svg>'
    embedded = base64.b64encode(svg.encode()).decode()
    asked = []
    opened = urllib.request.OpenerDirector.open
    monkeypatch.setattr(
        urllib.request.OpenerDirector,
        "open",
        lambda self, request, *rest, **more: (
            asked.append(getattr(request, "full_url", request))
            or opened(self, request, *rest, **more)
        ),
    )
    page = (
        f'<html lang="en"><head><title>x</title><link rel="attachment" href="{address}">'
        f'<link rel="stylesheet" href="{address}"><style>@import url("{address}"); '
        f'p {{ background: url("{address}"), url("http://127.0.0.1:9/x") }}</style></head>'
        f'<body><main><p><a rel="attachment" href="{address}">x</a><img alt="a" src="{address}">'
        f'<img alt="b" src="data:image/svg+xml;base64,{embedded}"></p></main></body></html>'
    )
    render.render_pdf(page, tmp_path / "x.pdf")
    assert not pypdf.PdfReader(tmp_path / "x.pdf").attachments
    assert asked
    assert all(url.startswith("data:") or url.endswith(".ttf") for url in asked)


def test_a_picture_cannot_leave_its_attribute():
    alt = {"image/svg+xml": {"alt": '"><script>alert(1)</script>'}}
    output = new_output("display_data", {"image/svg+xml": "<svg onload='alert(1)'/>"}, metadata=alt)
    page = page_of(new_code_cell("x", outputs=[output]))
    assert_harmless(page)
    assert page.main.img["alt"] == '"><script>alert(1)</script>'


def test_titles_are_text():
    hostile = " ".join(HOSTILE)
    page = page_of(**dict.fromkeys(("title", "subtitle", "authors", "date"), hostile))
    assert_harmless(page)
    assert page.h1.string == hostile


def test_cell_metadata_is_no_way_in():
    cell = new_markdown_cell(
        "x", metadata={"tags": [h for h in HOSTILE if "," not in h], "part": HOSTILE[0]}
    )
    cell.id = "a"
    assert_harmless(page_of(cell))


def test_what_the_report_itself_shows_passes_unchanged():
    ours = (
        '<figure class="table" id="tab-a"><figcaption>Caption <em>a</em>.</figcaption>'
        '<table><thead><tr><th colspan="2">x</th></tr></thead><tbody>'
        '<tr data-model="vit_tiny" data-run="costs/vit_tiny-14d5b26e2900"><td><strong>'
        '<span class="value" data-source="vit_tiny-s0-113174520396 paper model:lenet5" '
        'data-at="table1/vit_tiny/test_accuracy" data-spread="95\xa0% interval 1 to 2">'
        '91.25\xa0%</span></strong></td><td><a href="#fig-a"></a></td></tr>'
        '</tbody></table></figure><img alt="A &quot;line&quot;" '
        'src="data:image/svg+xml;base64,PHN2Zy8+">'
        '<p><a href="https://arxiv.org/abs/1708.07747">x</a> a &lt; b &amp; c</p>'
    )
    assert BeautifulSoup(sanitise(ours), "html.parser") == BeautifulSoup(ours, "html.parser")


@pytest.mark.parametrize("hostile", [*HOSTILE, "../../etc", "a?b", "javascript:alert(1)"])
def test_what_a_script_may_look_up_is_a_name(hostile):
    value = html.escape(hostile)
    page = BeautifulSoup(
        sanitise(
            f'<table><tr data-run="{value}" data-model="{value}" data-at="x" onclick="{value}">'
            f'<td data-source="{value}"><span data-source="{value}" data-run="x" onclick="{value}">'
            "</span></td></tr></table>"
        ),
        "html.parser",
    )
    assert acts(page) == []
    assert page.tr.attrs == page.td.attrs == page.span.attrs == {}


def test_the_page_lets_only_its_own_script_run():
    page = page_of()
    policy = page.find("meta", {"http-equiv": True})["content"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src( 'sha256-[A-Za-z0-9+/=]+')+;", policy)
    assert policy.count("sha256-") == len(page("script"))
    assert "unsafe-eval" not in policy


def test_a_page_with_another_script_is_refused(monkeypatch):
    monkeypatch.setattr(
        render, "sanitise", lambda html: html
    )  # as if something had slipped through
    with pytest.raises(ReportError, match="script"):
        page_of(new_markdown_cell("<script>alert(1)</script>"))


# --- who may send us messages ------------------------------------------------------------------


def listening():
    """The addresses at which this process and its children wait for messages."""
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                yield connection.laddr.ip


def test_scheduler_workers_and_dashboard_are_on_loopback():
    seen = []
    tiny = {"train_images": 20, "test_images": 10, "max_epochs": 1, "batch_size": 10}
    configs = [make_config(model="lenet5", seed=seed, **tiny) for seed in (0, 1)]
    runs = run_many(configs, jobs=2, on_epoch=lambda *_: seen.extend(listening()))
    assert len(list(runs)) == 2
    assert len(seen) > 3
    assert {*seen} <= {"127.0.0.1", "::1"}
