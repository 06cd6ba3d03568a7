"""The look of every figure: palette, marks, sizes, legend, and the files a figure becomes.

Not here: what a figure shows (`figures`, `curves`), where its labels go (`labels`). Nothing here
touches pyplot or its global state.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

WIDTH = 7.0  # inches, of every figure; shown at 160 to 180 mm, so that 9 pt stays above 8 pt
SMALL = 9.0  # points; the least size of any text
INK = "#222222"
QUIET = "#595959"  # of what is said beside the data; contrast on white 7:1
FAINT = "#c4c4c4"  # of what is only there to compare with
GRID = "#e6e6e6"


class Look(NamedTuple):
    """How one model is drawn, in every figure."""

    colour: str
    marker: str
    size: float  # of the marker, in points; so that all look equally large
    dashes: tuple[float, ...]  # on, off, ... in line widths; empty: a solid line


# Okabe and Ito's colours (Color Universal Design, 2008) with a dark brown in the place of those too
# pale for a line on white: each has a contrast of 3:1 or more there, and any two stay apart for
# the three kinds of colour blindness. Marker and line style say the same without colour.
LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "lenet5": Look("#222222", "s", 5.5, (1, 1)),
        "resnet_mini": Look("#0072b2", "o", 6, ()),
        "densenet_tiny": Look("#d55e00", "^", 6.5, (5, 1.5)),
        "mobilenet_lite": Look("#009e73", "D", 5.5, (5, 1.5, 1, 1.5)),
        "vit_tiny": Look("#cc79a7", "v", 6.5, (3, 1)),
        "baseline_cnn": Look("#5d3a00", "P", 8, (8, 2)),
    }
)
COLOURS: Mapping[str, str] = MappingProxyType({name: look.colour for name, look in LOOKS.items()})

_SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere, and has → and ±
    "font.size": SMALL,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": SMALL,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#808080",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "text.color": INK,
    "lines.linewidth": 1.6,
    "lines.dash_capstyle": "butt",
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.borderaxespad": 0,
    "legend.columnspacing": 1.4,
    "legend.handletextpad": 0.6,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "fmnist",  # ids in the file follow from the content alone
}

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Make a drawing function draw in this style, whatever matplotlib is set to."""

    @wraps(draw)
    def inside(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.style.context(["default", _SETTINGS]):
            figure = draw(*args, **kwargs)
            settle(figure)
            _number_names(figure)
            return figure

    return inside


def blank(height: float) -> Figure:
    """An empty figure, `height` in inches; what is put on it is laid out when it is settled."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def to_svg(figure: Figure) -> bytes:
    """A figure as SVG with its text as paths; the same figure gives the same bytes."""
    return _saved(figure, format="svg", metadata={"Date": None, "Creator": None})


def to_png(figure: Figure, *, dots_per_inch: float = 200) -> bytes:
    """A figure as PNG; without the version of matplotlib in it."""
    return _saved(figure, format="png", dpi=dots_per_inch, metadata={"Software": None})


def _saved(figure: Figure, **options: object) -> bytes:
    file = io.BytesIO()
    with matplotlib.style.context(["default", _SETTINGS]):
        figure.savefig(file, **options)
    return file.getvalue()


def ordered(models: Iterable[str]) -> list[str]:
    """Models in the paper's order, each once; raises ValueError for one without a look."""
    return sorted(set(models), key=list(LOOKS).index)


def text_colour(model: str) -> str:
    """A model's colour for text: as dark as a contrast of 4.5:1 on white needs."""
    red, green, blue = to_rgb(COLOURS[model])
    while contrast((red, green, blue), (1, 1, 1)) < 4.5:
        red, green, blue = 0.97 * red, 0.97 * green, 0.97 * blue
    return to_hex((red, green, blue))


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever reads better on a colour; its contrast is never below 4.5:1."""
    return max(("black", "white"), key=lambda ink: contrast(to_rgb(ink), colour))


def contrast(first: Sequence[float], second: Sequence[float]) -> float:
    """Contrast ratio of two sRGB colours (channels 0 to 1), from 1 to 21; WCAG 2.2's definition."""
    low, high = sorted(_luminance(colour) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Sequence[float]) -> float:
    channels = np.asarray(colour[:3], dtype=float)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def settle(figure: Figure) -> None:
    """Lay a figure out, for good: nothing moves afterwards."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def belongs(model: str, *artists: Artist | None) -> None:
    """Name artists after the model that they belong to, for whoever reads the SVG.

    The first of a figure becomes the element `model-<name>`, the others `model-<name>-2` and so on.
    """
    for artist in filter(None, artists):
        artist.set_gid(f"model-{model}")


def _number_names(figure: Figure) -> None:
    """Make the names that `belongs` gave unique, in the order in which artists are found."""
    seen: Counter[str] = Counter()
    for artist in figure.findobj():
        for one in (artist, getattr(artist, "arrow_patch", None)):  # findobj leaves arrows out
            if one is not None and (name := one.get_gid()) is not None:
                seen[name] += 1
                one.set_gid(name if seen[name] == 1 else f"{name}-{seen[name]}")


def mark(model: str, *, scale: float = 1) -> dict[str, Any]:
    """How a model's point is drawn: its marker, edged in white so that it stands out on lines."""
    return {
        "marker": LOOKS[model].marker,
        "markersize": scale * LOOKS[model].size,
        "color": COLOURS[model],
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "linestyle": "none",
        "zorder": 3,
    }


PAPER_MARK: Mapping[str, Any] = MappingProxyType(
    {
        "marker": "d",
        "markersize": 7,
        "color": INK,
        "markerfacecolor": "white",
        "markeredgewidth": 1.2,
        "linestyle": "none",
        "zorder": 4,
    }
)


def legend_above(figure: Figure, handles: Mapping[str, object]) -> None:
    """One row of explanations on top of a figure: text → the mark, or marks, it explains."""
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper left",
        ncols=len(handles),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.4)},
    )


def sample(**style: object) -> Line2D:
    """A line or marker to explain in a legend."""
    return Line2D([], [], **style)


def log_axis(axes: Axes, which: str, values: Sequence[float], *, room: float = 0) -> None:
    """A logarithmic axis with plain numbers, wide enough that at least one of them is on it.

    `room` is the share of the axis to leave free for labels at the far end.
    """
    low, high = min(values) / 1.6, max(values)
    limits = (low, high * max(1.6, (high / low) ** (room / (1 - room))))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": limits})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(_plain_number))
    axis.set_minor_locator(LogLocator(subs=()))


def _plain_number(value: float, _: int | None = None) -> str:
    return f"{value / 1e6:,g} M" if value >= 1e6 else f"{value:,g}"
