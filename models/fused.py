"""The compiled kernel of a convolution (``fused.c``): what stands between its products."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from models.batch import EdgeLayout, TripletLayout
from models.fused_library import library
from models.inference_fold import Convolution
from models.inference_groups import RowGroups
from models.inference_rows import CHUNK_NUMBERS, Located

LANES = 16
MOST_CHANNELS = 2048
LEVELS = ("plain", "AVX2", "AVX-512")
"""Instruction sets, by the library's number for each."""

_FEWEST_GROUPS = 16
"""Of a thread: fewer are done before it has begun."""
_POINTER = ctypes.c_void_p
_INTEGER = ctypes.c_int64


class _Job(ctypes.Structure):
    """``Convolution`` of ``fused.c``, field by field."""

    _fields_ = (
        ("width", _INTEGER),
        ("node", _POINTER),
        ("first_row", _POINTER),
        ("first_source", _POINTER),
        ("source", _POINTER),
        ("weight", _POINTER),
        ("weight_by_row", _INTEGER),
        ("products", _POINTER),
        ("old_nodes", _POINTER),
        ("new_nodes", _POINTER),
        ("logits", _POINTER),
        ("logits_row", _INTEGER),
        ("ahead", _INTEGER),
        ("n_rows", _INTEGER),
        ("rows", _POINTER),
        ("update", _INTEGER),
        ("gain", _POINTER),
        ("shift", _POINTER),
        ("table", _POINTER),
        ("columns", _INTEGER),
        ("cell", _POINTER),
        ("share", _POINTER),
    )


class Kernel:
    """The library, run with one of the instruction sets that this processor has."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._convolve = library.ionscreen_convolve
        self._convolve.argtypes = (ctypes.POINTER(_Job), _INTEGER, _INTEGER, ctypes.c_int)
        self._convolve.restype = None
        self.level = int(library.ionscreen_level())

    def __str__(self) -> str:
        """Name and instruction set, for a person."""
        return f"compiled kernel ({LEVELS[self.level]})"

    @staticmethod
    def takes(width: int) -> bool:
        """Whether the kernel is written for so many channels."""
        return width % LANES == 0 and 0 < width <= MOST_CHANNELS

    def __call__(
        self,
        convolution: Convolution,
        layout: EdgeLayout | TripletLayout,
        nodes: Tensor,
        rows: Tensor,
        *,
        rows_needed: bool,
        located: Located | None = None,
    ) -> Tensor:
        """See ``inference_rows.Convolve``; float32 on a CPU."""
        groups = layout.groups
        products = convolution.nodes(nodes)
        width = nodes.shape[1]
        new_nodes = torch.empty_like(nodes)
        job = _job(groups, convolution, products, nodes, new_nodes)
        assert rows.dtype == torch.float32
        assert rows.is_contiguous()
        job.rows, job.update = rows.data_ptr(), int(rows_needed)
        last = len(groups.node)
        if located is not None:
            job.table = located.table.values.data_ptr()
            job.columns = located.table.values.shape[1]
            assert located.cell.is_contiguous()
            assert located.share.is_contiguous()
            job.cell, job.share = located.cell.data_ptr(), located.share.data_ptr()
            self._run(job, 0, last)
            return new_nodes
        chunks = groups.chunks(max(1, torch.get_num_threads() * CHUNK_NUMBERS // width))
        space = rows.new_empty(max(stop - start for _, _, start, stop in chunks), width)
        job.logits, job.ahead, job.n_rows = space.data_ptr(), len(space), len(rows)
        for begin, end, start, stop in chunks:
            convolution.gate(rows[start:stop], out=space[: stop - start])
            job.logits_row = start
            self._run(job, begin, end)
        return new_nodes

    def _run(self, job: _Job, begin: int, end: int) -> None:
        """The groups from ``begin`` to ``end``, on as many threads as PyTorch would take."""
        threads = min(torch.get_num_threads(), (end - begin) // _FEWEST_GROUPS)
        if threads <= 1:
            self._convolve(job, begin, end, self.level)
            return
        bounds = [begin + (end - begin) * part // threads for part in range(threads + 1)]
        jobs = [
            _threads(threads).submit(self._convolve, job, first, last, self.level)
            for first, last in pairwise(bounds)
        ]
        for one in jobs:
            one.result()


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="fused")


def _job(
    groups: RowGroups, convolution: Convolution, products: Tensor, nodes: Tensor, new_nodes: Tensor
) -> _Job:
    """What is the same for all parts of a convolution; the tensors must outlive it."""
    tensors = (products, nodes, new_nodes, groups.weight, convolution.gain, convolution.shift)
    assert all(one.dtype == torch.float32 and one.is_contiguous() for one in tensors)
    indices = (groups.node, groups.first_row, groups.first_source, groups.source)
    assert all(one.dtype == torch.int64 and one.is_contiguous() for one in indices)
    return _Job(
        width=nodes.shape[1],
        node=groups.node.data_ptr(),
        first_row=groups.first_row.data_ptr(),
        first_source=groups.first_source.data_ptr(),
        source=groups.source.data_ptr(),
        weight=groups.weight.data_ptr(),
        weight_by_row=int(groups.weight_by_row),
        products=products.data_ptr(),
        old_nodes=nodes.data_ptr(),
        new_nodes=new_nodes.data_ptr(),
        gain=convolution.gain.data_ptr(),
        shift=convolution.shift.data_ptr(),
    )


def kernel() -> Kernel | None:
    """The kernel for this processor; None where there is no library."""
    found = library()
    return None if found is None else Kernel(found)
