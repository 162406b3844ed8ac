"""Finished nudged elastic bands, read back: one module for each format."""
