"""The page that `make lab` opens with: which notebook shows what, what is there, what it takes.

`python -m fmnist_lib.commands.start` writes it to `build/start.ipynb`: a notebook of one text,
since JupyterLab shows that rendered at once, where it would open a Markdown file for editing.
"""

from collections.abc import Iterable

import nbformat

from fmnist_lib import paths
from fmnist_lib.execution.forecast import expected_seconds, in_words, past_runs
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.record import RunRecord
from fmnist_lib.runs.store import RunStore, write_atomically

PAGE = paths.BUILD / "start.ipynb"

TEXT = """# Start here

Open a notebook and choose *Run ▸ Run All Cells*. Each takes seconds, since it shows finished runs:
your own, or the released ones where those are of more models. Nothing is trained unless you set
`train = True` in its first cells; *training* is what one run of each model then takes on one core
of this machine, or of the one whose records there are.

| Notebook | Shows | Trained here | Released | Training |
|---|---|---|---|---|
{rows}

The command `python run_all.py` trains what is missing, several runs side by side, and makes the
whole report in `build/paper/`. The released report is [`report/index.html`](../report/index.html);
its data and trained models are described in [`report/README.md`](../report/README.md).
"""

COMPARISON = "all models beside each other and the paper: accuracy, time, its claims"
MODEL = "its architecture, its training, what it gets wrong, what it costs"


def page() -> str:
    """The page in Markdown."""
    own, released = RunStore(paths.RUNS), RunStore(paths.REPORT / "records", read_only=True)
    here, there, known = past_runs(own), past_runs(released), past_runs(own, released)
    configs = plan("paper")
    rows = [row("Comparison", "comparison", COMPARISON, (here, there), configs, known)]
    for config in configs:
        title = MODELS[config.model].title
        rows.append(row(title, config.model, MODEL, (here, there), [config], known))
    return TEXT.format(rows="\n".join(rows))


def row(
    title: str,
    notebook: str,
    shows: str,
    stores: Iterable[Iterable[RunRecord]],
    configs: list[RunConfig],
    known: list[RunRecord],
) -> str:
    """A notebook's row: a link, what it shows, the runs in each store, how long training takes."""
    link = f"[{title}](../notebooks/{notebook}.ipynb)"
    found = [runs_of(configs, records) for records in stores]
    seconds = sum(expected_seconds(config, known) for config in configs)
    return f"| {' | '.join([link, shows, *found, in_words(seconds)])} |"


def runs_of(configs: Iterable[RunConfig], records: Iterable[RunRecord]) -> str:
    """How many of the records differ from one of `configs` in seed and stopping rules at most."""
    number = sum(
        any(not record.config.differs(config, ignoring={"seed"}) for config in configs)
        for record in records
    )
    return {0: "–", 1: "1 run"}.get(number, f"{number} runs")


def main() -> None:
    """Write the page and say where it is."""
    cell = nbformat.v4.new_markdown_cell(page(), id="start")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    write_atomically(PAGE, nbformat.writes(notebook).encode())
    print(PAGE)


if __name__ == "__main__":
    main()
