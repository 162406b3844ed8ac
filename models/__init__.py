"""Graphs, networks, training and prediction of migration barriers."""

DEFAULT_MODEL = "ionscreen-1"
"""Name of the shipped model that predicts where none is asked for."""
