"""The figures of the README, measured: ``python -m tests.bench`` prints them all.

Times are process CPU time, the best of a few repeats, ours and the peer's in turn, on one thread:
what is left of a busy machine in them is its memory bandwidth and its clock. Nothing is asserted.
"""
