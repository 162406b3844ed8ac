"""Faults on purpose: processes killed at random moments, and all else that a run can meet.

``python -m tests.chaos`` (``make chaos``) prints what was done and how it ended; a few of the same
rounds run with every test.
"""
