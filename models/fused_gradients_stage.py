"""The compiled stages of a training (``fused_training.c``): their library, struct and threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.fused_library import library
from models.inference_groups import RowGroups

FORWARD, ACTIVATE, COLLECT, BACKWARD = range(4)
"""Tasks of ``fused_training.c``."""
BLOCK = 32
"""Rows and columns of a step of matrix units."""

_VERSION = 1
_LANES, _MOST_CHANNELS = 16, 2048
_MOST_INPUTS, _PARTS = 1024, 3
_FEWEST_ROWS = 64
"""Of a thread: fewer are done before it has begun."""
_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


class Job(ctypes.Structure):
    """``Stage`` of ``fused_training.c``, field by field."""

    _fields_ = (
        ("width", _INTEGER),
        ("n_in", _INTEGER),
        ("inputs", _POINTER),
        ("matrix", _POINTER),
        ("matrix_back", _POINTER),
        ("bias", _POINTER),
        ("logits", _POINTER),
        ("count", _POINTER),
        ("moments", _POINTER),
        ("node", _POINTER),
        ("first_row", _POINTER),
        ("first_source", _POINTER),
        ("source", _POINTER),
        ("weight", _POINTER),
        ("weight_by_row", _INTEGER),
        ("products", _POINTER),
        ("mean", _POINTER),
        ("inverse_norm", _POINTER),
        ("gathered", _POINTER),
        ("gain", _POINTER),
        ("shift", _POINTER),
        ("before", _POINTER),
        ("out", _POINTER),
        ("grad_out", _POINTER),
        ("pivot", _POINTER),
        ("grad_moments", _POINTER),
        ("pull_fixed", _POINTER),
        ("pull_slope", _POINTER),
        ("grad_gathered", _POINTER),
        ("grad_products", _POINTER),
        ("grad_logits", _POINTER),
        ("first_row_of_grad", _INTEGER),
        ("grad_inputs", _POINTER),
        ("residual", _INTEGER),
        ("grad_matrix", _POINTER),
        ("grad_bias", _POINTER),
    )

    def set(self, **tensors: Tensor | None) -> Job:
        """Point fields to tensors, which must outlive the job; returns itself."""
        for name, tensor in tensors.items():
            if tensor is not None:
                assert tensor.is_contiguous(), name
                setattr(self, name, tensor.data_ptr())
        return self

    def with_groups(self, groups: RowGroups) -> Job:
        """With the gate's groups; returns itself."""
        self.weight_by_row = int(groups.weight_by_row)
        return self.set(
            node=groups.node,
            first_row=groups.first_row,
            first_source=groups.first_source,
            source=groups.source,
            weight=groups.weight,
        )

    def copy(self) -> Job:
        """For another thread."""
        return type(self).from_buffer_copy(self)


class Trainer:
    """The library, run with one of the instruction sets that this processor has."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._train = library.ionscreen_train
        self._train.argtypes = (
            ctypes.POINTER(Job), ctypes.c_int, _INTEGER, _INTEGER, ctypes.c_int,
        )  # fmt: skip
        self._arrange = library.ionscreen_training_arrange
        self._arrange.argtypes = (_POINTER, *[_INTEGER] * 4, _POINTER)
        self._rows = library.ionscreen_training_rows
        self._rows.argtypes = (
            _POINTER, _INTEGER, _INTEGER, _INTEGER, _POINTER, _INTEGER, _POINTER, _POINTER,
            _POINTER, _INTEGER,
        )  # fmt: skip
        self._columns = library.ionscreen_training_columns
        self._columns.argtypes = (_POINTER, _POINTER, *[_INTEGER] * 3, _POINTER)
        for function in (self._arrange, self._rows, self._columns):
            function.restype = None
        self.level = int(library.ionscreen_level())
        self.units = bool(library.ionscreen_has_matrix_units())

    @staticmethod
    def takes(width: int) -> bool:
        """Whether stages are written for so many channels."""
        return width % _LANES == 0 and 0 < width <= _MOST_CHANNELS

    def multiplies(self, n_in: int, n_out: int) -> bool:
        """Whether products of such a matrix, and their gradients, run on matrix units."""
        fits = max(n_in, n_out) <= _MOST_INPUTS and n_in % BLOCK == n_out % BLOCK == 0
        return self.units and fits

    def arranged(self, matrix: Tensor) -> Tensor:
        """A matrix (n_in, n_out) of any strides for the units."""
        out = torch.empty(_PARTS * matrix.numel(), dtype=torch.int16)
        self._arrange(matrix.data_ptr(), *matrix.stride(), *matrix.shape, out.data_ptr())
        return out

    def multiply(self, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        """``x`` (rows, n_in) times a matrix (n_in, n_out), plus a bias."""
        arranged = self.arranged(matrix)
        (rows, n_in), n_out = x.shape, matrix.shape[1]
        out = x.new_empty(rows, n_out)
        bias_at = None if bias is None else bias.data_ptr()

        def part(first: int, last: int) -> None:
            self._rows(
                x[first:].data_ptr(), n_in, last - first, n_in, arranged.data_ptr(), n_out, bias_at,
                None, out[first:].data_ptr(), n_out,
            )  # fmt: skip

        self.each(part, row_bounds(rows))
        return out

    def multiply_columns(self, left: Tensor, right: Tensor) -> Tensor:
        """``left`` (rows, n_left), mirrored, times ``right`` (rows, n_right)."""
        bounds = row_bounds(len(left))
        sums = left.new_zeros(len(bounds) - 1, left.shape[1], right.shape[1])

        def part(first: int, last: int) -> None:
            self._columns(
                left[first:].data_ptr(), right[first:].data_ptr(), last - first, left.shape[1],
                right.shape[1], sums[bounds.index(first)].data_ptr(),
            )  # fmt: skip

        self.each(part, bounds)
        return sums.sum(0) if len(sums) > 1 else sums[0]

    def run(
        self, job: Job, task: int, bounds: Sequence[int], **of_threads: Sequence[Tensor] | Tensor
    ) -> None:
        """A task on rows or groups between bounds, each part by its own thread.

        Args:
            job: what is the same for all parts.
            task: ``FORWARD`` and so on.
            bounds: ascending.
            of_threads: fields of the job that each part has its own tensor for.

        Raises:
            MemoryError: without a little memory for a part.
        """
        parts = []
        for index, (first, last) in enumerate(pairwise(bounds)):
            own = job.copy().set(**{name: tensors[index] for name, tensors in of_threads.items()})
            parts.append((own, first, last))

        def part(index: int, _: int) -> None:
            own, first, last = parts[index]
            if self._train(own, task, first, last, self.level):
                raise MemoryError("no memory for the gradients of 128 rows")

        self.each(part, range(len(parts) + 1))

    @staticmethod
    def each(part: Callable[[int, int], None], bounds: Sequence[int]) -> None:
        """Call a task with each pair of neighbouring bounds, the last one in this thread."""
        pairs = list(pairwise(bounds))
        jobs = [_threads(len(pairs) - 1).submit(part, *pair) for pair in pairs[:-1]]
        part(*pairs[-1])
        for job in jobs:
            job.result()


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="training")


def row_bounds(rows: int) -> list[int]:
    """Parts of about as many rows, one for each thread that PyTorch would take."""
    parts = max(1, min(torch.get_num_threads(), rows // _FEWEST_ROWS))
    return [rows * part // parts // BLOCK * BLOCK for part in range(parts)] + [rows]


def group_bounds(groups: RowGroups, begin: int, end: int) -> list[int]:
    """Parts of groups with about as many rows; those that share sources stay together."""
    first_row, first_source = groups.first_row.numpy(), groups.first_source.numpy()
    rows = int(first_row[end] - first_row[begin])
    parts = max(1, min(torch.get_num_threads(), rows // _FEWEST_ROWS))
    bounds = [begin]
    for part in range(1, parts):
        wanted = int(np.searchsorted(first_row, first_row[begin] + rows * part // parts))
        if wanted < end:
            wanted = int(np.searchsorted(first_source, first_source[wanted]))
        bounds.append(min(max(bounds[-1], wanted), end))
    return [*bounds, end]


@cache
def trainer() -> Trainer | None:
    """The stages for this processor; None where there is no library with them."""
    found = library()
    try:
        same = found is not None and found.ionscreen_training_version() == _VERSION
    except AttributeError:
        return None
    return Trainer(found) if found is not None and same else None


def needed() -> Trainer:
    """The stages, which are known to be there."""
    found = trainer()
    assert found is not None
    return found
