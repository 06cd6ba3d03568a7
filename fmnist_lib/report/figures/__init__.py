"""Frames of `results` become figures, one function each; `image_files` gives a figure's files."""
# ruff: noqa: F401

from .classes import class_heat, confusion_multiples, images_grid, recall_changes, reliability
from .compare import against_paper, effects, overview, pareto, small_nets
from .curves import all_curves, learning_curves, recipe_search, time_per_epoch
from .style import image_files
