"""The report's tables and figures as files of their own, from the functions the notebooks use."""

from pathlib import Path

from fmnist_lib.reporting import analysis, figures
from fmnist_lib.reporting.analysis import Results
from fmnist_lib.reporting.style import to_svg
from fmnist_lib.store import write_atomically


def write_tables(results: Results, folder: Path) -> None:
    """Write `table1.csv` and `table2.csv`: one row a model, in the paper's order."""
    tables = {"table1": analysis.table1(results), "table2": analysis.table2(results)}
    for name, table in tables.items():
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False).encode())


def write_figures(results: Results, folder: Path) -> None:
    """Write the paper's three figures, redrawn, as SVG."""
    histories = analysis.histories(results)
    times = analysis.table2(results) if results.costs else None
    drawn = {
        "figure1": figures.accuracy_curves(histories),
        "figure2": figures.time_per_epoch(histories, times),
        "figure3": figures.loss_curves(histories),
    }
    for name, figure in drawn.items():
        write_atomically(folder / f"{name}.svg", to_svg(figure))
