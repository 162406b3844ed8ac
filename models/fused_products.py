"""Products on the matrix units of x86 processors (AMX), through ``fused_products.c``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from models.fused_library import library

_BLOCK = 32
_MOST_INPUTS = 256
_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


@dataclass(frozen=True, eq=False)
class UnitsProduct:
    """A matrix arranged for the units."""

    arranged: Tensor
    n_in: int
    n_out: int
    parts: int
    """Of a float32 number: 1 is bfloat16, 2 is good to 4e-6 (of the norm of 256-wide products)."""

    def __call__(self, x: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
        """(rows, n_in) to (rows, n_out), float32."""
        rows = len(x)
        if out is None:
            out = x.new_empty(rows, self.n_out)
        assert x.is_contiguous()
        assert out.is_contiguous()
        _functions()[1](
            x.data_ptr(), rows, self.n_in, self.arranged.data_ptr(), self.n_out,
            None if bias is None else bias.data_ptr(), out.data_ptr(), self.parts,
        )  # fmt: skip
        return out


def on_units(weight: Tensor, parts: int) -> UnitsProduct | None:
    """A float32 matrix (n_in, n_out) for the units; None where it cannot be or there are none."""
    n_in, n_out = weight.shape
    if n_in % _BLOCK or n_out % _BLOCK or n_in > _MOST_INPUTS or not has_matrix_units():
        return None
    weight = weight.contiguous()
    arranged = torch.empty(2 * n_in * n_out, dtype=torch.int16)
    _functions()[0](weight.data_ptr(), n_in, n_out, arranged.data_ptr())
    return UnitsProduct(arranged, n_in, n_out, parts)


@cache
def has_matrix_units() -> bool:
    """Whether the library is there and this process may use matrix units."""
    found = library()
    return found is not None and bool(found.ionscreen_has_matrix_units())


@cache
def _functions() -> tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer]:
    found = library()
    assert found is not None
    found.ionscreen_arrange.argtypes = (_POINTER, _INTEGER, _INTEGER, _POINTER)
    found.ionscreen_product.argtypes = (
        _POINTER, _INTEGER, _INTEGER, _POINTER, _INTEGER, _POINTER, _POINTER, ctypes.c_int,
    )  # fmt: skip
    for function in (found.ionscreen_arrange, found.ionscreen_product):
        function.restype = None
    return found.ionscreen_arrange, found.ionscreen_product
