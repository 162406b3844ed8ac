"""Forward of the paper's 4 + 4 layers of width 256, against DGL's ALIGNN with the same weights.

Ours step by step: as training runs it, as prediction runs it without and with the compiled kernel,
and with products in bfloat16. Each pair runs in a process of its own, because glibc reads its
allocator's settings at start. With the default ones DGL spends half its time on page faults for its
temporaries, so the figures that count are taken with settings that keep freed memory, for both; one
with the default is printed beside them.
"""

from __future__ import annotations

from typing import Any

from tests.bench.child import in_child
from tests.bench.figures import Figure

TUNED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}
STEPS = {
    "eager": ("as training runs it", 3.0),
    "pytorch": ("prediction, PyTorch", 5.0),
    "compiled": ("prediction, compiled kernel", 8.0),
    "bfloat16": ("prediction, compiled kernel, products in bfloat16", 13.0),
}
"""In words, and how many times faster than the peer it should be."""


def run(repeats: int = 3, n_bands: int = 20) -> list[Figure]:
    """One band of about 111 atoms, fp32 unless said, one thread; graphs made beforehand.

    Args:
        repeats: of which the least time counts.
        n_bands: of about as many atoms, on which the largest error is looked for.
    """
    tuned = in_child("forward_child", repeats, n_bands, environment=TUNED)
    figures = [_figure(tuned, step, "tuned") for step in tuned["ms"] if step in STEPS]
    plain = in_child("forward_child", repeats, 0)
    last = "compiled" if "compiled" in plain["ms"] else "pytorch"
    pure = in_child("forward_pure_child", repeats, environment=TUNED)
    return [*figures, _figure(plain, last, "default"), _pure_figure(pure)]


def _figure(measured: dict[str, Any], step: str, allocator: str) -> Figure:
    words, target_ratio = STEPS[step]
    ours, theirs = measured["ms"][step], measured["ms"].get("dgl")
    note = f"{measured['n_atoms']} atoms, {measured['n_edges']} edges, {allocator} allocator"
    note += f"; relative error {measured['error'][step]:.1e} to float64"
    if step in measured["most_error"]:
        note += f", on {measured['n_bands']} bands at most {measured['most_error'][step]:.1e}"
    if theirs:
        note += f", peer's {measured['error']['dgl']:.1e}"
        note += f"; peer with our route for products: {measured['ms']['dgl_routed']:.0f} ms"
    else:
        note += f"; peer: {measured['lacking']}"
    return Figure(
        name=f"forward-{step}" + ("" if allocator == "tuned" else "-default-malloc"),
        what=f"forward of one band, 4+4 layers x 256, {words}",
        unit="ms CPU",
        target=f">= {target_ratio:g}x faster than the peer",
        value=ours,
        met=theirs / ours >= target_ratio if theirs else None,
        peer="DGL's ALIGNN",
        peer_value=theirs,
        note=note,
    )


def _pure_figure(measured: dict[str, Any]) -> Figure:
    note = f"{measured['n_atoms']} atoms, tuned allocator, without the compiled kernel "
    note += f"{measured['pytorch_ms']:.0f} ms; "
    if measured["peer_ms"]:
        note += f"peer: alignn {measured['version']}, the published graph, layer norms"
    else:
        note += "peer not measured: not installed (alignn from 2026.8 on)"
    return Figure(
        name="forward-pure",
        what="forward of one band, 4+4 layers x 256, as prediction runs it",
        unit="ms CPU",
        target="stated",
        value=measured["ms"],
        peer="alignn's own PyTorch model",
        peer_value=measured["peer_ms"],
        note=note,
    )
