"""The page as readers use it, in a real browser without a network. Needs Chromium alone here."""

import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_report import MODELS, report_notebooks, runs_of, say, text, value
from nbformat.v4 import new_notebook
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fmnist_lib.paths import BUILD
from fmnist_lib.reporting import render

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
WIDTHS = (360, 768, 1440)
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here: apt-get install chromium, or brew install chromium"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "index.html"
    front = {"title": "Six networks", "subtitle": "Trained again", "authors": "A. Author"}
    path.write_text(render.render_html(report_notebooks(), **front), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, address):
    """Open the page as `visit(width=…, …)`; at the end nothing may have failed or been fetched."""
    contexts, problems = [], []

    def fetched(request):
        if not request.url.startswith(("file:", "data:")):
            problems.append(f"request: {request.url}")

    def visit(*, width=1440, height=900, url=address, **options) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_offline(True)
        context.set_default_timeout(5000)
        page = context.new_page()
        page.on("request", fetched)
        page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


def column(page, place, table="#tab-table1"):
    return page.locator(f"{table} tbody tr > :nth-child({place})").all_inner_texts()


def marked(page, place):
    return page.locator(f'.value[data-at="{place}"]')


def focused(page):
    return page.evaluate("document.activeElement.dataset.at ?? document.activeElement.textContent")


# --- reading ---


def test_contents_lead_to_each_section_and_follow_the_reading(visit):
    page = visit()
    links = page.locator("#contents a")
    assert links.count() == 7
    for place in range(links.count()):
        target = links.nth(place).get_attribute("href")
        page.evaluate("hash => { location.hash = hash; }", target)
        expect(page.locator(target)).to_be_in_viewport()
    page.locator("#contents > li > a").first.click()
    expect(page.locator("#contents [aria-current]")).to_have_text("1 Results")
    page.locator("#sec-lenet-5").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('sec-lenet-5').scrollIntoView()")
    expect(page.locator("#contents [aria-current]")).to_have_text("2 LeNet-5")


def test_code_folds_one_by_one_and_all_at_once(visit):
    page = visit()
    code = page.locator("details.code pre")
    expect(code.first).to_be_hidden()
    page.locator("details.code summary").first.click()
    expect(code.first).to_be_visible()
    expect(code.last).to_be_hidden()
    page.get_by_role("button", name="Show all code").click()
    expect(code.last).to_be_visible()
    page.get_by_role("button", name="Hide all code").click()
    expect(code.first).to_be_hidden()


def test_without_script_everything_is_there_and_nothing_that_does_not_work(visit):
    page = visit(java_script_enabled=False)
    for words in ("What was found: 89.20 %", "105,546", "LeCun et al."):
        expect(page.get_by_text(words).first).to_be_visible()
    assert page.locator("button:visible, select:visible").count() == 0
    page.locator("summary").first.click()
    expect(page.locator("details.code pre").first).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(visit, width):
    page = visit(width=width)
    page.get_by_role("button", name="Show all code").click()
    for place in ("found.accuracy", "table1/lenet5/parameters", "found.mean"):
        marked(page, place).scroll_into_view_if_needed()
        marked(page, place).click()
        expect(page.get_by_role("dialog")).to_be_in_viewport()
        sizes = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        wide, window = page.evaluate(sizes)
        assert wide <= window == width
    scrolls = page.locator("#tab-table1 .scroll").evaluate("f => f.scrollWidth > f.clientWidth")
    assert scrolls == (width < 1440)


# --- colours ---


def test_colours_follow_the_system_until_chosen_and_the_choice_is_kept(visit):
    page = visit(color_scheme="dark")
    body = page.locator("body")
    dark, light = "rgb(22, 24, 28)", "rgb(255, 255, 255)"
    expect(body).to_have_css("background-color", dark)
    page.get_by_label("Colours").select_option("light")
    expect(body).to_have_css("background-color", light)
    page.reload()
    expect(body).to_have_css("background-color", light)
    expect(page.get_by_label("Colours")).to_have_value("light")
    page.get_by_label("Colours").select_option("as the system")
    expect(body).to_have_css("background-color", dark)


def test_paper_shows_no_marks_and_no_tools(visit):
    page = visit()
    marked(page, "found.accuracy").click()
    page.emulate_media(media="print")
    for unseen in (".tools", ".enlarge", "#origin"):
        expect(page.locator(unseen).first).to_be_hidden()
    for place in ("found.accuracy", "table1/lenet5/parameters"):
        expect(marked(page, place)).to_have_css("text-decoration-line", "none")


# --- tables ---


def test_a_heading_sorts_by_number_up_down_and_back(visit):
    page = visit()
    before = column(page, 1)
    heading = page.locator("#tab-table1 thead th").last
    button = page.get_by_role("button", name="Parameters")
    expect(heading).to_have_attribute("aria-sort", "none")
    button.click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert column(page, 14) == ["6,330", "11,402", "11,666", "14,218", "61,706", "105,546"]
    button.focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert column(page, 14)[0] == "105,546"
    button.click()
    expect(heading).to_have_attribute("aria-sort", "none")
    assert column(page, 1) == before


@pytest.mark.parametrize(
    ("heading", "place", "ascending"),
    [
        ("Test accuracy (%)", 2, ["88.52", "89.20", "90.43", "90.48", "90.64", "–"]),
        ("difference", 5, ["−90.64", "−90.48", "−90.43", "−89.20", "−88.52", "–"]),
        ("Model", 1, sorted(MODELS.values())),
    ],
)
def test_what_is_missing_comes_last_in_both_directions(visit, heading, place, ascending):
    page = visit()
    button = page.locator("#tab-table1").get_by_role("button", name=heading, exact=True)
    button.click()
    assert [words.split(" ±")[0] for words in column(page, place)] == ascending
    button.click()
    present = [words for words in ascending if words != "–"]
    missing = ["–"] * (len(ascending) - len(present))
    assert [words.split(" ±")[0] for words in column(page, place)] == [*reversed(present), *missing]


def test_dates_sort_as_dates(visit):
    page = visit()
    before = column(page, 4, "#tab-runs")
    page.get_by_role("button", name="Started (UTC)").click()
    assert column(page, 4, "#tab-runs") == sorted(before) != before


def test_a_table_of_words_is_not_for_sorting(visit):
    assert visit().locator("#tab-environments button").count() == 0


# --- one model ---


def test_one_model_stands_out_in_tables_and_figures(visit):
    page = visit()
    choice = page.get_by_label("Model")
    assert choice.locator("option").all_inner_texts() == ["all alike", *MODELS.values()]
    image = page.locator("#fig-curves img")
    before, other = image.get_attribute("src"), page.locator("#fig-net img").get_attribute("src")
    choice.select_option("ViT-Tiny")
    titles = page.locator("#tab-table1 tr[aria-current] th").all_inner_texts()
    assert titles == ["ViT-Tiny"]
    svg = drawn(page)
    assert svg["model-vit_tiny"] == svg["model-vit_tiny-2"] == "1"
    assert float(svg["model-lenet5"]) < 0.5
    assert svg["model-lenet5-2"] == "1"  # words keep their contrast
    assert page.locator("#fig-net img").get_attribute("src") == other
    choice.select_option("all alike")
    assert image.get_attribute("src") == before
    assert page.locator("tr[aria-current]").count() == 0


def drawn(page):
    """The opacity of each model's part in the first figure, as a browser that draws it sees it."""
    return page.evaluate(
        """() => {
          const [, data] = document.querySelector("#fig-curves img").src.split(",");
          const svg = new DOMParser().parseFromString(atob(data), "image/svg+xml").documentElement;
          document.body.append(svg);
          const parts = [...svg.querySelectorAll("[id^=model-]")];
          const found = parts.map((part) => [part.id, getComputedStyle(part).opacity]);
          svg.remove();
          return Object.fromEntries(found);
        }"""
    )


# --- figures ---


def test_a_figure_opens_large_by_click_and_by_keyboard(visit):
    page = visit()
    large = page.get_by_role("dialog", name="Figure 1")
    page.locator("#fig-curves img").click()
    expect(large).to_be_visible()
    expect(large.get_by_role("img")).to_have_attribute("alt", "A line for each model")
    small, big = (
        page.locator(f"{where} img").bounding_box() for where in ("#fig-curves", "dialog")
    )
    assert big["width"] > small["width"]
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    button = page.get_by_role("button", name="Enlarge Figure 1")
    button.focus()
    page.keyboard.press("Enter")
    expect(large).to_contain_text("Lines curves.")
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    expect(button).to_be_focused()


# --- where a number comes from ---


def test_the_pointer_shows_where_a_number_comes_from(visit):
    page = visit()
    popup = page.get_by_role("dialog", name="Where this number comes from")
    expect(popup).to_be_hidden()
    marked(page, "found.accuracy").hover()
    expect(popup).to_be_visible()
    run = runs_of("lenet5")[0]
    expect(popup.get_by_role("link", name=run)).to_have_attribute(
        "href", f"records/{run}/record.json"
    )
    for words in (
        "89.20; 95 % interval 88.58 to 89.79",
        "found.accuracy",
        "c0ffee123456",
        "A processor",
    ):
        expect(popup).to_contain_text(words)
    expect(popup).not_to_contain_text("Another")
    cell = marked(page, "found.accuracy").locator("xpath=ancestor::div[@data-cell]")
    expect(popup.get_by_role("link", name="made here")).to_have_attribute(
        "href", f"#{cell.get_attribute('id')}"
    )
    expect(popup).to_contain_text("by cell 1 of comparison.ipynb")
    expect(popup.get_by_role("link", name="comparison.ipynb")).to_have_attribute(
        "href", "notebooks/comparison.ipynb"
    )
    popup.get_by_role("link", name=run).hover()  # it can be reached
    page.wait_for_timeout(500)
    expect(popup).to_be_visible()
    page.mouse.move(0, 0)
    expect(popup).to_be_hidden()


def test_only_a_frame_that_scrolls_the_number_away_closes_it(visit):
    page = visit()
    popup = page.get_by_role("dialog")
    number = marked(page, "table1/lenet5/test_accuracy")
    number.click()
    contents, frame = page.locator("#contents"), page.locator(".scroll", has=number)
    contents.evaluate("list => list.dispatchEvent(new Event('scroll'))")
    expect(popup).to_be_visible()
    frame.evaluate("frame => frame.dispatchEvent(new Event('scroll'))")
    expect(popup).to_be_hidden()


@pytest.mark.parametrize("height", [330, 500, 900])
def test_it_stays_within_the_window(visit, height):
    page = visit(width=360, height=height)
    popup = page.get_by_role("dialog")
    for place in ("found.accuracy", "table1/lenet5/test_accuracy"):
        number = marked(page, place)
        number.evaluate("value => value.scrollIntoView({ block: 'center' })")
        number.click()
        expect(popup).to_be_in_viewport(ratio=1)
        at, box = number.bounding_box(), popup.bounding_box()
        assert at["y"] + at["height"] <= box["y"] or box["y"] + box["height"] <= at["y"]
        page.keyboard.press("Escape")


def test_a_tap_shows_it_and_one_elsewhere_closes_it(visit):
    page = visit(width=360, has_touch=True, is_mobile=True)
    popup = page.get_by_role("dialog")
    marked(page, "found.seconds").tap()
    expect(popup.get_by_role("link", name="costs/lenet5-7ef21c82adc7")).to_have_attribute(
        "href", "records/costs/lenet5-7ef21c82adc7.json"
    )
    page.locator("h1").tap()
    expect(popup).to_be_hidden()


def test_the_keyboard_shows_it_leads_into_it_and_back(visit):
    page = visit()
    popup = page.get_by_role("dialog")
    number = marked(page, "found.accuracy")
    page.locator(".skip").focus()
    page.keyboard.press("Tab")
    expect(number).to_be_focused()
    expect(popup).to_be_visible()
    expect(number).to_have_attribute("aria-describedby", popup.get_attribute("id"))
    page.keyboard.press("Enter")
    expect(popup.get_by_role("link").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(popup).to_be_hidden()
    expect(number).to_be_focused()
    page.keyboard.press("Tab")
    expect(marked(page, "found.seconds")).to_be_focused()
    expect(popup).to_contain_text("costs/")
    page.keyboard.press("Escape")
    expect(popup).to_be_hidden()
    assert not number.get_attribute("aria-describedby")


def test_a_table_is_one_stop_with_arrow_keys_in_it(visit):
    page = visit()
    stops = page.locator("#tab-table1 tbody .value[tabindex='0']")
    assert stops.count() == 1
    stops.focus()
    path = []
    for key in ("ArrowRight", "ArrowDown", "End", "ArrowUp", "ArrowLeft", "Home", "ArrowUp"):
        page.keyboard.press(key)
        path.append(focused(page).removeprefix("table1/"))
    assert path == [
        "lenet5/interval",
        "resnet_mini/interval",
        "resnet_mini/parameters",
        "lenet5/parameters",
        "lenet5/paper_train_loss",
        "lenet5/test_accuracy",
        "lenet5/test_accuracy",
    ]
    expect(stops).to_be_focused()


def test_many_runs_fold_and_what_they_share_is_said_once(visit):
    page = visit()
    popup = page.get_by_role("dialog")
    marked(page, "found.mean").click()
    assert popup.locator("a[href^='records/']:visible").count() == 3
    assert popup.inner_text().count("c0ffee123456") == 1
    expect(popup.get_by_role("listitem").nth(1)).to_have_text(
        f"{runs_of('lenet5')[1]}: seed 1, started (utc) 2026-11-24 22:16"
    )
    popup.get_by_text("27 more").click()
    assert popup.locator("a[href^='records/']:visible").count() == 30
    page.keyboard.press("Escape")
    marked(page, "found.paper").click()
    expect(popup.get_by_role("link", name="the paper's own figure")).to_have_attribute(
        "href", "#ref-paper"
    )


def test_a_hostile_source_is_text(visit, tmp_path):
    wrong = "javascript:alert costs/ /etc/passwd a//b"
    refused = value("2", "../../x", "found")
    cells = [text("# One"), say(f"<p>{value('1', wrong, '&lt;b&gt;x')} {refused}</p>")]
    notebook = new_notebook(cells=cells, metadata={"name": '"><script>alert(1)</script>'})
    target = tmp_path / "index.html"
    target.write_text(render.render_html([notebook], title="Small"), encoding="utf-8")
    page = visit(url=target.as_uri())
    assert page.locator("[data-source]").count() == 1
    page.locator("[data-source]").click()
    popup = page.get_by_role("dialog")
    expect(popup).to_contain_text("/etc/passwd")
    expect(popup).to_contain_text("<b>x")
    assert popup.locator("a").all_inner_texts() == ["made here"]
    assert popup.locator("img, b, script").count() == 0


# --- accessibility, and how it looks ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, scheme):
    page = visit(color_scheme=scheme)
    page.get_by_role("button", name="Show all code").click()
    page.get_by_label("Model").select_option("ViT-Tiny")
    page.get_by_role("button", name="Parameters").click()
    assert serious(page) == []
    marked(page, "found.mean").click()
    assert serious(page) == []
    page.locator("#fig-curves img").click()
    assert serious(page) == []


def serious(page):
    found = Axe().run(page).response["violations"]
    return [
        (rule["id"], [node["html"] for node in rule["nodes"]][:3])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_screenshots_are_kept(visit, width, scheme):
    page = visit(width=width, color_scheme=scheme)
    page.get_by_label("Model").select_option("ViT-Tiny")
    marked(page, "found.mean").click()
    folder = BUILD / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{width}-{scheme}.png"
    page.screenshot(path=target, full_page=True)
    assert re.match(rb"\x89PNG", target.read_bytes())
