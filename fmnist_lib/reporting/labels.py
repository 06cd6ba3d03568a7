"""Where the labels of a figure go, so that they hide neither each other nor what is drawn.

Not here: what they say and how they look. Labels are placed on the finished layout, so that these
functions settle it; the places follow from the data alone.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from fmnist_lib.reporting.style import belongs, settle, text_colour
from fmnist_lib.reporting.words import name_of


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


_DIRECTIONS = (  # to the right first, where one reads on
    *((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)),
    *((1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5)),
)
_DISTANCES = (8, 11, 16, 22, 30, 40, 50)  # points
_ENDS = {"shrinkA": 0, "shrinkB": 4}  # points from label and marker to the line between them
_CLEARANCE = 3  # points around a label, for the width of lines and markers


def place_labels(
    axes: Axes, points: np.ndarray, models: Sequence[str], *, clear: np.ndarray
) -> None:
    """Write each model's name beside its point (n, 2), off other labels and what is drawn.

    `clear` holds further points (m, 2) to leave free; all are in data coordinates. Each label in
    turn takes the nearest place where it touches nothing and is nearer to its own point than to any
    other; where there is none, the place that offends least. A line leads to one that is far off.
    """
    figure = axes.get_figure(root=True)
    settle(figure)
    pixel = figure.dpi / 72
    spots = axes.transData.transform(points)
    drawn = axes.transData.transform(np.concatenate([points, clear]))
    taken: list[Bbox] = []
    for place, model in enumerate(models):
        colour = text_colour(model)
        style = {"textcoords": "offset points", "color": colour, "ha": "center", "va": "center"}
        label = axes.annotate(name_of(model), points[place], (0, 0), **style)
        belongs(model, label)
        found = []
        for distance, shift, box in _places(label, pixel):
            offence = (
                100 * (box.intervalx.clip(*axes.bbox.intervalx) != box.intervalx).any()
                + 100 * (box.intervaly.clip(*axes.bbox.intervaly) != box.intervaly).any()
                + 30 * sum(box.overlaps(other) for other in taken)
                + 10 * (_distances(box, spots).argmin() != place)
                + (_distances(box, drawn) == 0).sum()
            )
            found.append((offence, distance, len(found), shift, box))
        _, distance, _, shift, box = min(found, key=lambda one: one[:3])
        label.set_position(shift)
        if distance > _DISTANCES[1]:
            end = (spots[place].clip(box.min, box.max) - spots[place]) / pixel
            line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, **_ENDS}
            leader = axes.annotate(
                "", points[place], end, textcoords="offset points", arrowprops=line
            )
            belongs(model, leader.arrow_patch)
        taken.append(box)


def _places(label: Annotation, pixel: float) -> Iterator[tuple[float, tuple[float, float], Bbox]]:
    """Where a label could go: distance and offset in points, and its box with clearance."""
    box = label.get_window_extent()
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            across = right * (distance + box.width / pixel / 2)
            above = up * (distance + box.height / pixel / 2)
            moved = box.translated(across * pixel, above * pixel).padded(_CLEARANCE * pixel)
            yield distance, (across, above), moved


def _distances(box: Bbox, spots: np.ndarray) -> np.ndarray:
    """How far each point (n, 2) is from a box; 0 inside."""
    nearest = np.clip(spots, box.min, box.max)
    return np.hypot(*(spots - nearest).T)


def along(corners: np.ndarray, steps: int = 8) -> np.ndarray:
    """Points along a line through corners (n, 2), `steps` to a segment."""
    places = np.linspace(0, len(corners) - 1, steps * (len(corners) - 1) + 1)
    across, up = (np.interp(places, np.arange(len(corners)), column) for column in corners.T)
    return np.column_stack([across, up])
