"""A reproducible benchmark of six lightweight image classifiers on FashionMNIST."""

__version__ = "0.1.0"
