"""Faster single-precision products on CPUs, taken only where their error has been checked."""

from __future__ import annotations

import os

import torch

BFLOAT16_VARIABLE = "IONSCREEN_BF16"
"""Environment variable; ``1`` asks for bfloat16 products in predictions on CPUs."""
_MAX_RELATIVE_ERROR = 3e-6
"""Single-precision round-off of a 256-wide product, with room for another summation order."""


def route_matmuls() -> bool:
    """Send float32 products to oneDNN where that is exact to round-off on this CPU.

    The setting permits bfloat16; on CPUs without matrix units oneDNN stays in float32 and is
    about twice as fast as the default. On others it would lose digits, so it is tried first.

    Returns:
        Whether the faster route is on.
    """
    backend = torch.backends.mkldnn
    if not backend.is_available() or not hasattr(backend, "matmul"):  # type: ignore[no-untyped-call]
        return False
    before = backend.matmul.fp32_precision
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(512, 256, generator=generator)
    b = torch.randn(256, 256, generator=generator)
    exact = a.double() @ b.double().T
    backend.matmul.fp32_precision = "bf16"
    routed = torch.nn.functional.linear(a, b)
    error = float((routed.double() - exact).norm() / exact.norm())
    if error > _MAX_RELATIVE_ERROR:
        backend.matmul.fp32_precision = before
        return False
    return True


def bfloat16_wanted() -> bool:
    """Whether the user asks for bfloat16 products in predictions on CPUs; off by default."""
    return os.environ.get(BFLOAT16_VARIABLE, "") == "1"


def has_bfloat16_products() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AMX or AVX-512), as torch says."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
