"""How a training computes: products in bfloat16 on a GPU, the same sums on every run, memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from models.alignn import Trunk

_MOST_MAPPED, _LEAST_TRIMMED, _TOP_PAD = -4, -1, -2
"""Parameters of glibc's ``mallopt``, and below what glibc starts with."""
_USUAL = {_MOST_MAPPED: 65_536, _LEAST_TRIMMED: 2**17, _TOP_PAD: 2**17}
_KEPT = {_MOST_MAPPED: 0, _LEAST_TRIMMED: -1, _TOP_PAD: 2**26}


@contextmanager
def bfloat16_products(network: nn.Module) -> Iterator[None]:
    """Autocast what the linear layers of every trunk multiply to bfloat16, for forward passes.

    Geometry, gates, sums over neighbours, norms, readout, head, scale and loss stay in float32, and
    so do the weights: bfloat16 has three significant digits, too few for a cosine or a mean.

    Args:
        network: with trunks in it, or without, which changes nothing.
    """
    trunks = [part for part in network.modules() if isinstance(part, Trunk)]
    linears = [part for trunk in trunks for part in trunk.modules() if isinstance(part, nn.Linear)]
    for linear in linears:
        vars(linear)["forward"] = partial(_in_bfloat16, linear)
    try:
        yield
    finally:
        for linear in linears:
            del vars(linear)["forward"]


def _in_bfloat16(linear: nn.Linear, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        return nn.functional.linear(x, linear.weight, linear.bias).float()


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """One thread and deterministic algorithms, on a GPU too; what was set before comes back.

    Args:
        wanted: False changes nothing.

    Raises:
        RuntimeError: within, where an operation has no deterministic algorithm.
    """
    if not wanted:
        yield
        return
    # Read when a process first multiplies on a GPU, so it has to stand before and stays.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads)


@contextmanager
def kept_memory(wanted: bool = True) -> Iterator[None]:
    """Keep freed memory for the next step, with glibc: it else goes back after every step.

    A step's arrays are large and the same again and again; to get each from the system page by page
    takes a fifth of a step. Elsewhere this does nothing.

    Args:
        wanted: False changes nothing.
    """
    program = ctypes.CDLL(None) if wanted and sys.platform == "linux" else None
    if program is None or not hasattr(program, "mallopt"):
        yield
        return
    for parameter, value in _KEPT.items():
        program.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _USUAL.items():
            program.mallopt(parameter, value)
        program.malloc_trim(0)
