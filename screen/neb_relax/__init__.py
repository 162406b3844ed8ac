"""Bands of a shortlist relaxed by machine-learned potentials, several at a time."""
