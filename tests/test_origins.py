"""What each section's numbers rest on, listed in the appendix."""

import pytest
from bs4 import BeautifulSoup
from made_report import report_notebooks, runs_of, text

from fmnist_lib.reporting import render
from fmnist_lib.reporting.origins import in_words


def page_of(notebooks):
    return BeautifulSoup(render.render_html(notebooks, title="Six networks"), "html.parser")


def test_each_section_with_numbers_has_a_row_that_leads_to_it_and_to_its_cells():
    page = page_of(report_notebooks())
    rows = {
        row.th.get_text(): [cell.get_text() for cell in row.find_all("td")]
        for row in page.select("#appendix #tab-origins tbody tr")
    }
    assert rows == {
        "Abstract": [f"{runs_of('lenet5')[0]}; costs/lenet5-7ef21c82adc7", "comparison 1"],
        "Section\N{NO-BREAK SPACE}1.1": [
            "30 runs of 6 models; the definition of 6 models; the paper",
            "comparison 4, 5",
        ],
    }
    for link in page.select("#tab-origins tbody a"):
        assert page.find(id=link["href"][1:])


def test_a_report_without_marked_numbers_has_no_such_list():
    (notebook, _) = report_notebooks()
    notebook.cells = [text("# One")]
    assert page_of([notebook]).find(id="tab-origins") is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["paper", "settings"], ["the paper", "settings of this report"]),
        (["lenet5-s0-a", "lenet5-s1-b"], ["lenet5-s0-a and lenet5-s1-b"]),
        ([f"lenet5-s{seed}-a" for seed in range(4)], ["4 runs of LeNet-5"]),
        (["model:vit_tiny", "costs/lenet5-a"], ["costs/lenet5-a", "the definition of ViT-Tiny"]),
    ],
)
def test_sources_are_put_in_words(names, words):
    assert list(in_words(names)) == words
