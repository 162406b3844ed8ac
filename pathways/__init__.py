"""Geometry: crystals, the hops of their ions, the bands of those hops, and what percolates."""
