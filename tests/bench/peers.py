"""Programs that answer the same questions another way, in the same run: CHGNet, MigrationGraph."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from tests.bench.child import in_child
from tests.bench.figures import Figure, NotMeasured


def run(
    n_bands: int = 5, n_crystals: int = 50, repeats: int = 2, limit_s: float = 300.0
) -> list[Figure]:
    """A barrier against five energies by CHGNet; a crystal's hops against its migration graph.

    A peer that is not installed is said so beside our own figure; one that has not ended after
    ``limit_s`` leaves the row without figures.
    """
    asked = (("chgnet", n_bands, _chgnet), ("migration", n_crystals, _migration))
    figures = []
    for name, count, figure in asked:
        try:
            found = in_child("peers_child", name, count, repeats, limit_s=limit_s)
        except NotMeasured as error:
            note = f"not measured: {error}"
            figures.append(Figure(f"peers-{name}", f"against {name}", "", "", note=note))
            continue
        figures.append(figure(found))
    return figures


def installed(module: str) -> bool:
    """Whether a peer can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def _peer_note(found: dict[str, Any]) -> str:
    return "" if found["peer_ms"] else "; peer not measured: not installed"


def _chgnet(found: dict[str, Any]) -> Figure:
    return Figure(
        name="peers-chgnet",
        what="from a hop to its barrier, ionscreen-1; peer: energies of its five images, unrelaxed",
        unit="ms CPU",
        target="stated",
        value=found["ms"],
        peer="CHGNet",
        peer_value=found["peer_ms"],
        note=f"median of {found['count']} bands of {found['least']}-{found['most']} atoms"
        + _peer_note(found),
    )


def _migration(found: dict[str, Any]) -> Figure:
    return Figure(
        name="peers-migration-graph",
        what="hops of one crystal, median of another draw",
        unit="ms CPU",
        target="stated",
        value=found["ms"],
        peer="MigrationGraph",
        peer_value=found["peer_ms"],
        note=f"{found['count']} crystals of {found['least']}-{found['most']} atoms, the same cutoff"
        + (f"; {found['ended']} of the peer's ended after 2 s" if found["ended"] else "")
        + _peer_note(found),
    )
