"""Tests, their oracle and the benchmarks: ``python -m tests.bench`` prints the figures."""
