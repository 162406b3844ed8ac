"""Moves work: the stages from crystal to barrier, inline or on a Ray cluster."""
