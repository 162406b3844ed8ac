"""Graphs, networks, training and prediction of migration barriers."""
