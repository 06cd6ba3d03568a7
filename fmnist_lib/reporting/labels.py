"""Where the labels of a figure go, so that they hide neither each other nor what is drawn.

Not here: what they say and how they look. Labels are placed on the finished layout, so that these
functions settle it; the places follow from the data alone.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from fmnist_lib.reporting.style import settle


def spread(
    wanted: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf
) -> np.ndarray:
    """Positions as near to the wanted ones as they can be (least squares), `gap` or more apart.

    Keeps the order of `wanted`, equal ones as they come, and stays between `low` and `high` if they
    leave room for all.
    """
    values = np.asarray(wanted, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    placed = np.empty_like(values)
    level = isotonic_regression(values[order] - steps).x
    placed[order] = np.clip(level, low, high - gap * (len(values) - 1)) + steps
    return placed


def spread_vertically(labels: Sequence[Annotation], *, padding: float = 1.0) -> None:
    """Move labels that stand in one column, up or down, until none touches another.

    They stay within the height of their axes. `padding` is in points.
    """
    if not labels:
        return
    settle(labels[0].get_figure(root=True))
    pixel = labels[0].get_figure(root=True).dpi / 72
    boxes = [label.get_window_extent() for label in labels]
    tallest = max(box.height for box in boxes)
    low, high = labels[0].axes.bbox.intervaly + np.array([tallest, -tallest]) / 2
    centres = [(box.y0 + box.y1) / 2 for box in boxes]
    placed = spread(centres, tallest + padding * pixel, low, high)
    for label, old, new in zip(labels, centres, placed, strict=True):
        right, up = label.get_position()
        label.set_position((right, up + (new - old) / pixel))


_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_DISTANCES = (8, 11, 16, 22, 30, 40)  # points
_CLEARANCE = 3  # points around a label, for the width of lines and markers


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
    the place that hides least.
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
                moved = box.translated(*shift).padded(_CLEARANCE * pixel)
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
