"""The look of every figure, and the files it becomes; without pyplot and its global state."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, StrMethodFormatter
from PIL import Image

from fmnist_lib.models import MODELS

WIDTH = 7.0  # inches; shown at 160 to 180 mm, so that 9 pt stays above 8 pt
SMALL = 9.0  # points, the least size of any text
INK = "#222222"
QUIET = "#595959"  # of what explains the data; contrast on white 7:1
FAINT = "#c4c4c4"  # of what joins or bounds the data


class Look(NamedTuple):
    """How one model is drawn, in every figure."""

    colour: str
    ink: str  # of its name: the colour as dark as a contrast of 4.5:1 on white needs
    marker: str
    size: float  # of the marker, in points; so that all look equally large
    dashes: tuple[float, ...]  # on, off, ... in line widths; empty: a solid line


# Okabe and Ito's colours (Color Universal Design, 2008) with a dark brown in the place of those too
# pale for a line on white: each has a contrast of 3:1 or more there, and any two stay apart for
# the three kinds of colour blindness. Marker and line style say the same without colour.
LOOKS = {
    "lenet5": Look("#222222", "#222222", "s", 5.5, (1, 1)),
    "resnet_mini": Look("#0072b2", "#0072b2", "o", 6, ()),
    "densenet_tiny": Look("#d55e00", "#c15500", "^", 6.5, (5, 1.5)),
    "mobilenet_lite": Look("#009e73", "#008561", "D", 5.5, (5, 1.5, 1, 1.5)),
    "vit_tiny": Look("#cc79a7", "#a36185", "v", 6.5, (3, 1)),
    "baseline_cnn": Look("#5d3a00", "#5d3a00", "P", 8, (8, 2)),
}

_SETTINGS = {
    "font.size": SMALL,
    "text.color": INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "figure.labelsize": SMALL,
    "axes.edgecolor": "#808080",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "legend.columnspacing": 1.4,
    "svg.hashsalt": "fmnist",  # ids in the file follow from the content alone
}

Explained = Mapping[str, Sequence[Mapping[str, Any]]]  # what a legend says → looks of lines, marks

styled = matplotlib.style.context(["default", _SETTINGS])  # for all that draws, as a decorator


def blank(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches; what is put on it is laid out once it is drawn."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=0.05))


def small_multiples(models: Sequence[str], each: float, more: float) -> tuple[Figure, list[Axes]]:
    """A figure with one panel a model, all with the same axes: `each` high, and `more` in all."""
    across = min(3, len(models))
    down = -(-len(models) // across)
    figure = blank(each * down + more)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, model in zip(grid, models, strict=False):
        axes.set_title(title_of(model), color=LOOKS[model].ink)
    for axes in grid[len(models) :]:
        axes.remove()
    return figure, list(grid[: len(models)])


@styled
def image_files(figure: Figure) -> dict[str, bytes]:
    """A figure's files by kind, `svg` (text as paths) and `png`: of the same one the same bytes."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    figure.set_layout_engine("none")  # it is laid out, and once is enough
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    few = Image.open(png).convert("RGB").quantize(dither=Image.Dither.NONE)  # a third of the bytes
    few.save(png := io.BytesIO(), "png", optimize=True)
    return {"svg": _lighter(svg.getvalue()).encode(), "png": png.getvalue()}


def _lighter(svg: str) -> str:
    """A file of matplotlib's without what nobody sees: third decimals, names, comments, spaces."""
    svg = re.sub(r"\b[1-9]\d*\.\d{3,}", lambda number: f"{round(float(number[0]), 2):g}", svg)
    svg = re.sub(r'<!--.*?-->|(?<=<g) id="[^"]*"', "", svg).replace("DejaVuSans", "D")
    svg = re.sub(r'(<use [^>]*)transform="translate\(([^ )]*) 0\)"', r'\1x="\2"', svg)
    svg = re.sub(r"\s+([LQCz])\s+", r"\1", svg)  # between the points of a path
    return re.sub(r"\s*\n\s*", "\n", svg)


def title_of(model: str) -> str:
    """A model's name as a reader knows it."""
    return MODELS[model].title


def symbol(model: str, *, scale: float = 1, fill: str = "") -> dict[str, Any]:
    """How a model's point is drawn; with a `fill` it is hollow: the paper's."""
    look = LOOKS[model]
    return {
        "marker": look.marker,
        "markersize": scale * look.size,
        "color": look.colour,
        "markerfacecolor": fill or look.colour,
        "markeredgecolor": look.colour if fill else "white",  # stands out on lines
        "markeredgewidth": 1.2 if fill else 0.6,
        "linestyle": "none",
        "zorder": 4,
    }


def symbols(models: Iterable[str], **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The symbols of the first three models, for what a legend says of all."""
    return [symbol(model, **options) for model in list(models)[:3]]


def legend(figure: Figure, explained: Explained, *, side: str = "upper", **options: Any) -> None:  # noqa: ANN401
    """Explanations above or below a figure: text → how the lines and marks it explains look."""
    figure.legend(
        [tuple(Line2D([], [], **look) for look in looks) for looks in explained.values()],
        list(explained),
        loc=f"outside {side} left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.4)},
        **{"ncols": 3, **options},
    )


def log_axis(axes: Axes, values: Iterable[float], *, short: bool = False) -> None:
    """A level logarithmic axis around what is a number, `short` with k and M."""
    known = [float(value) for value in values if value > 0] or [1.0]
    low, high = min(known) / 1.6, 1.6 * max(known)
    steps = (1, 2, 5) if high / low < 100 else (1,)
    ticks = [step * 10.0**power for power in range(-6, 12) for step in steps]
    axes.set(xscale="log", xlim=(low, high), xticks=[tick for tick in ticks if low < tick < high])
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if short else StrMethodFormatter("{x:,g}"))
    axes.minorticks_off()


def signed(number: float, places: int) -> str:
    """A number with its sign, a real minus; zero has none."""
    return f"{round(number, places) + 0.0:+.{places}f}".replace("-", "−")


def name_rows(axes: Axes, models: Sequence, names: Sequence = (), *, first: float = 0) -> None:
    """One level row a model, the first on top, with its name, or another, at the left."""
    places = [first + place for place in range(len(models))]
    axes.set_yticks(places, names or [title_of(model) for model in models])
    for tick, model in zip(axes.yaxis.get_major_ticks(), models, strict=True):
        tick.label1.set_color(LOOKS[model].ink)
    axes.set_ylim(first + len(models) - 0.5, first - 0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def draw_interval(
    axes: Axes, model: str, at: Sequence[float], line: Sequence = ((), ()), *, fill: str = ""
) -> None:
    """A model's mark, on a line of (xs, ys) as long as an interval; a nan is not drawn."""
    whose, look = "paper" if fill else "ours", {"color": LOOKS[model].colour, "linewidth": 1.2}
    axes.plot(*line, **look, label=f"_{whose}-interval-{model}")
    axes.plot(*at, **symbol(model, fill=fill), label=f"_{whose}-{model}")
