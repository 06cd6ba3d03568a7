"""The look of every figure: palette, sizes, where labels go, and the files a figure becomes.

Not here: what a figure shows (`figures`). Nothing here touches pyplot or its global state.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import NamedTuple, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

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
    dashes: tuple[float, ...]  # on, off, ... in line widths; empty: a solid line


# Okabe and Ito's colours (Color Universal Design, 2008) with a dark brown in the place of those too
# pale for a line on white: each has a contrast of 3:1 or more there, and any two stay apart for
# the three kinds of colour blindness. Marker and line style say the same without colour.
LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "lenet5": Look("#222222", "s", (1, 1)),
        "resnet_mini": Look("#0072b2", "o", ()),
        "densenet_tiny": Look("#d55e00", "^", (5, 1.5)),
        "mobilenet_lite": Look("#009e73", "D", (5, 1.5, 1, 1.5)),
        "vit_tiny": Look("#cc79a7", "v", (3, 1)),
        "baseline_cnn": Look("#5d3a00", "P", (8, 2)),
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
    "lines.markersize": 6,
    "lines.dash_capstyle": "butt",
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.borderaxespad": 0,
    "legend.columnspacing": 1.6,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
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
            return figure

    return inside


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
    return matplotlib.colors.to_hex((red, green, blue))


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


# Labels. They are placed on the finished layout, so a figure is settled before.


def settle(figure: Figure) -> None:
    """Lay a figure out, for good: nothing moves afterwards."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def spread(wanted: Sequence[float], gap: float) -> np.ndarray:
    """Positions as near to the wanted ones as they can be (least squares), `gap` or more apart.

    Keeps the order of `wanted`; equal ones keep theirs in the sequence.
    """
    values = np.asarray(wanted, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    placed = np.empty_like(values)
    placed[order] = isotonic_regression(values[order] - steps).x + steps
    return placed


def spread_vertically(labels: Sequence[Annotation], *, padding: float = 1.0) -> None:
    """Move labels that stand in one column up or down until none touches another.

    Lays the figure out. `padding` is in points.
    """
    if not labels:
        return
    figure = labels[0].get_figure(root=True)
    settle(figure)
    pixel = figure.dpi / 72
    boxes = [label.get_window_extent() for label in labels]
    gap = max(box.height for box in boxes) + padding * pixel
    centres = [(box.y0 + box.y1) / 2 for box in boxes]
    for label, old, new in zip(labels, centres, spread(centres, gap), strict=True):
        right, up = label.get_position()
        label.set_position((right, up + (new - old) / pixel))


_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_DISTANCES = (7, 11, 16, 22, 30, 40)  # points


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colours: Sequence[str],
    *,
    clear: np.ndarray | None = None,
) -> list[Annotation]:
    """Write each text beside its point (data coordinates), off other labels and what is drawn.

    `clear` holds further data points (n, 2) that labels should leave free. Every label takes the
    nearest place that touches nothing, the first in the order of the texts; where there is none,
    the place that hides least. Lays the figure out.
    """
    figure = axes.get_figure(root=True)
    settle(figure)
    pixel = figure.dpi / 72
    taken: list[Bbox] = []
    drawn = [points] if clear is None else [points, clear]
    spots = axes.transData.transform(np.concatenate([np.asarray(some, float) for some in drawn]))
    labels = []
    for point, text, colour in zip(points, texts, colours, strict=True):
        label = axes.annotate(
            text,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            color=colour,
            ha="center",
            va="center",
        )
        box = label.get_window_extent()
        places = []
        for distance in _DISTANCES:
            for right, up in _DIRECTIONS:
                shift = (
                    right * (distance * pixel + box.width / 2),
                    up * (distance * pixel + box.height / 2),
                )
                moved = box.translated(*shift).padded(1.5 * pixel)
                cost = (
                    100 * (not _within(axes.bbox, moved))
                    + 30 * sum(moved.overlaps(other) for other in taken)
                    + sum(moved.contains(*spot) for spot in spots)
                )
                places.append((cost, len(places), shift, moved))
        _, _, (right, up), moved = min(places, key=lambda place: place[:2])
        label.set_position((right / pixel, up / pixel))
        taken.append(moved)
        labels.append(label)
    return labels


def _within(outer: Bbox, inner: Bbox) -> bool:
    return (
        outer.x0 <= inner.x0
        and inner.x1 <= outer.x1
        and outer.y0 <= inner.y0
        and inner.y1 <= outer.y1
    )
