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


def _chgnet(found: dict[str, Any]) -> Figure:
    return _figure(
        found,
        "peers-chgnet",
        "from a hop to its barrier, ionscreen-1; peer: energies of its five images, unrelaxed",
        "CHGNet",
        f"median of {found['count']} bands of {found['least']}-{found['most']} atoms",
    )


def _migration(found: dict[str, Any]) -> Figure:
    note = f"{found['count']} crystals of {found['least']}-{found['most']} atoms, the same cutoff"
    if found["ended"]:
        note += f"; {found['ended']} of the peer's ended after 2 s"
    what = "hops of one crystal, median of another draw"
    return _figure(found, "peers-migration-graph", what, "MigrationGraph", note)


def _figure(found: dict[str, Any], name: str, what: str, peer: str, note: str) -> Figure:
    peer_ms = found["peer_ms"]
    if not peer_ms:
        note += "; peer not measured: not installed"
    return Figure(
        name, what, "ms CPU", "stated", found["ms"], peer=peer, peer_value=peer_ms, note=note
    )
