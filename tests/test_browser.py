"""The page as readers use it, in a real browser without a network. Needs Chromium alone here."""

import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_report import report, runs_of
from playwright.sync_api import Browser, Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), "")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here: apt-get install chromium, or brew install chromium"
)
ACCURACY, IN_TEXT = "table1/lenet5/test_accuracy", "see/a"  # addresses of two numbers


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser):
    """Open the page as `visit(width=…, …)`; at the end nothing may have failed or been fetched."""
    contexts, problems = [], []

    def visit(*, width=1440, height=900, **options) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_offline(True)
        context.set_default_timeout(5000)
        page = context.new_page()
        page.on("request", lambda request: problems.append(request.url))
        page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((report() / "index.html").as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [what for what in problems if not what.startswith(("file:", "data:"))] == []


def marked(page, address):
    return page.locator(f'.value[data-at="{address}"]')


def open_all(page):
    for fold in page.locator("summary").all():
        fold.click()
    marked(page, ACCURACY).click()
    expect(page.get_by_role("dialog")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (360, 800)])
def test_the_first_screen_shows_title_abstract_verdicts_and_picture(visit, width, height):
    page = visit(width=width, height=height)
    for part in ("h1", "#abstract .say p", ".tiles li:last-child"):
        expect(page.locator(part).first).to_be_in_viewport()
    expect(page.locator("#fig-overview img")).to_be_in_viewport(ratio=0.9)


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_page_never_scrolls_sideways_and_verdicts_stay_in_sight(visit, width):
    page = visit(width=width)
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for verdict in page.locator(".claims .verdict").all():
        box = verdict.bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width


def test_without_script_everything_is_there_and_nothing_that_does_not_work(visit):
    page = visit(java_script_enabled=False)
    for words in ("gets 89.20 % right", "105,546", "LeCun"):
        expect(page.get_by_text(words).first).to_be_visible()
    assert page.locator("button:visible").count() == 0
    page.get_by_text("Show code").first.click()
    expect(page.locator(".listing pre").first).to_be_visible()


def test_contents_follow_the_reading_and_code_is_copied(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("document.getElementById('sec-results-accuracy').scrollIntoView()")
    expect(page.locator("#contents [aria-current=true]")).to_have_text("1.2 Accuracy")
    page.get_by_text("Show code").first.click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()


# --- tables ---


def test_a_heading_sorts_by_number_up_and_down_what_is_missing_last(visit):
    page = visit()
    ascending = ["88.52", "89.20", "90.43", "90.48", "90.64", "–"]
    for expected in (ascending, [*reversed(ascending[:-1]), "–"]):
        page.get_by_role("button", name="Test accuracy (%)", exact=True).click()
        column = page.locator("#tab-table1 tbody tr > :nth-child(2)").all_inner_texts()
        assert [words.split(" ±")[0] for words in column] == expected


@pytest.mark.parametrize("width", [360, 1440])
def test_claims_are_filtered_by_their_verdict(visit, width):
    page = visit(width=width)
    rows = page.locator("#tab-claims tbody tr:visible")
    for name in ("holds 5", "does not hold 5"):
        page.get_by_role("button", name=name, exact=True).click()
        verdicts = [row.get_attribute("data-verdict") for row in rows.all()]
        assert verdicts == [name[:-2]] * 5
    page.locator(".tiles a").nth(3).click()  # leads to one that is filtered away
    expect(page.locator("#claim-C4")).to_be_in_viewport()
    assert rows.count() == 20


# --- where a number comes from, what a reference refers to ---


def test_a_number_says_its_value_the_seeds_and_where_they_come_from(visit):
    page = visit()
    popup, runs = page.get_by_role("dialog"), runs_of("lenet5")
    expect(popup).to_be_hidden()
    marked(page, ACCURACY).hover()
    expect(popup).to_contain_text(ACCURACY)
    said = popup.inner_text()
    places = [said.index(words) for words in ("89.20", "88.70 to 89.70", "seed 4", runs[4])]
    assert places == sorted(places)  # the value first
    assert popup.locator("dd").all_inner_texts() == ["89.20", "89.30", "89.40", "89.50", "89.60"]
    record = popup.get_by_role("link").first
    expect(record).to_have_attribute("href", f"records/{runs[0]}/record.json")
    page.mouse.move(0, 0)
    expect(popup).to_be_hidden()


def test_a_tap_shows_it_and_one_elsewhere_closes_it(visit):
    page = visit(width=360, has_touch=True, is_mobile=True)
    popup = page.get_by_role("dialog")
    marked(page, IN_TEXT).tap()
    record = popup.get_by_role("link")
    expect(record).to_have_attribute("href", "records/costs/lenet5-7ef21c82adc7.json")
    page.locator("#tab-table1 figcaption").tap()
    expect(popup).to_be_hidden()


def test_the_keyboard_shows_it_leads_into_it_and_back(visit):
    page = visit()
    popup, number = page.get_by_role("dialog"), marked(page, IN_TEXT)
    page.locator(".skip").focus()
    while not number.evaluate("number => number === document.activeElement"):
        page.keyboard.press("Tab")
    expect(popup).to_contain_text("4.2")
    expect(number).to_have_attribute("aria-describedby", "popup")
    page.keyboard.press("Tab")
    expect(popup.get_by_role("link").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(popup).to_be_hidden()
    expect(number).to_be_focused()
    expect(number).not_to_have_attribute("aria-describedby", "popup")


@pytest.mark.parametrize(("href", "seen"), [("#tab-table1", "105,546"), ("#ref-paper", "Karolin")])
def test_a_reference_previews_what_it_refers_to(visit, href, seen):
    page = visit()
    page.locator(f'main a[href="{href}"]').first.hover()
    expect(page.get_by_role("dialog")).to_contain_text(seen)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))


# --- colours, accessibility ---


def test_in_the_dark_figures_are_no_white_slabs(visit):
    page = visit(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(22, 24, 28)")
    expect(page.locator("#fig-net img")).to_have_css("filter", re.compile("invert"))
    expect(page.locator("#fig-images img")).not_to_have_css("filter", re.compile("invert"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(visit, scheme, width):
    page = visit(color_scheme=scheme, width=width)
    open_all(page)
    found = Axe().run(page).response["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in serious] == []
