"""Draws the figures of ``docs/concepts.md`` from LiFePO4: ``python docs/figures/concepts.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jobs import pipeline
from jobs.records import Candidate, MaterialResult
from jobs.settings import RunSettings
from pathways.band import build_band
from pathways.elements import SYMBOLS
from pathways.percolation import PeriodicUnion, cheapest_first
from screen.sources.base import Query
from screen.sources.catalog import Catalog

CRYSTAL = "mp-19017"
COLOURS = {"Li": "#0072B2", "Fe": "#999999", "P": "#CC79A7", "O": "#E69F00"}
SIZES = {"Li": 70, "Fe": 45, "P": 25, "O": 16}
GOOD_EV = 0.65


def main(folder: Path) -> None:
    """Write ``hops.png``, ``band.png`` and ``percolation.png``."""
    result = screened()
    for name, draw in (("hops", hops), ("band", band), ("percolation", percolation)):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        draw(figure.subplots(), figure, result)
        figure.savefig(folder / f"{name}.png", dpi=150)


def screened() -> MaterialResult:
    """The crystal with the barriers of all its hops."""
    items = Catalog().candidates(Query((), "Li"))
    (candidate,) = [
        one for one in items if isinstance(one, Candidate) and one.material_id == CRYSTAL
    ]
    found: list[MaterialResult] = []
    pipeline.run([candidate], found.extend, RunSettings(engine="inline"))
    return found[0]


def hops(axes: Axes, figure: Figure, result: MaterialResult) -> None:
    """The hops within one layer of the ion, seen from above."""
    network = result.network
    assert network is not None
    crystal = network.crystal
    lattice, long = crystal.lattice, int(np.argmax(np.linalg.norm(crystal.lattice, axis=1)))
    flat = [axis for axis in range(3) if axis != long]
    first = lattice[flat[0]] / np.linalg.norm(lattice[flat[0]])
    second = lattice[flat[1]] - (lattice[flat[1]] @ first) * first
    plane = np.array([first, second / np.linalg.norm(second)])
    number = SYMBOLS.index(network.ion)
    height = crystal.frac[crystal.numbers == number][0, long]
    colours = Normalize(0, 1.5)
    for position, scored in enumerate(result.hops, start=1):
        colour = colormaps["viridis"](colours(scored.prediction.em_ev))
        label = f"hop {position}: {scored.hop.length_a:.2f} Å, Em {scored.prediction.em_ev:.2f} eV"
        axes.plot([], [], color=colour, linewidth=2.5, label=label)
        for i, j, *image in scored.hop.orbit.tolist():
            for cell in np.ndindex(5, 5, 5):
                ends = crystal.frac[[i, j]] + [cell, np.add(cell, image)] - 1
                outside = ends[:, flat].min() < -0.05 or ends[:, flat].max() > 3.05
                if outside or np.abs(ends[:, long] - height).max() > 0.1:
                    continue
                line = ends @ lattice @ plane.T
                axes.plot(*line.T, color=colour, linewidth=2.5, zorder=1)
                axes.scatter(*line.T, s=70, color=COLOURS[network.ion], zorder=2)
    axes.set(aspect="equal", xlabel="Å", ylabel="Å", title="Hops of Li in a layer of LiFePO₄")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", frameon=False)


def band(axes: Axes, figure: Figure, result: MaterialResult) -> None:
    """The band of the easiest hop: the ion's five places and the host around them."""
    network = result.network
    assert network is not None
    easiest = min(result.hops, key=lambda scored: scored.prediction.em_ev)
    made = build_band(network.crystal, easiest.hop)
    middle = made.ion_frac[2]
    near = made.host_frac - middle
    near -= np.rint(near)
    places = near @ made.lattice
    close = np.linalg.norm(places, axis=1) < 4.2
    ion = (made.ion_frac - middle) @ made.lattice
    along = (ion[-1] - ion[0]) / np.linalg.norm(ion[-1] - ion[0])
    side = np.linalg.svd(places[close] - np.outer(places[close] @ along, along))[2][0]
    plane = np.array([along, side])
    numbers = made.host_numbers[close]
    for symbol in COLOURS:
        part = places[close][numbers == SYMBOLS.index(symbol)] @ plane.T
        if len(part):
            axes.scatter(
                *part.T, s=SIZES[symbol] * 2, color=COLOURS[symbol], label=f"host {symbol}"
            )
    axes.plot(*(ion @ plane.T).T, "-", color="black", linewidth=1, zorder=2)
    axes.scatter(*(ion @ plane.T).T, s=90, facecolor="white", edgecolor=COLOURS["Li"], zorder=3,
                 linewidth=2, label="Li, five images")  # fmt: skip
    curve = (made.curved.path_a - middle @ made.lattice) @ plane.T
    axes.plot(*curve.T, ":", color="black", linewidth=1.5, label="curved path")
    title = f"Band of hop {easiest.hop.key}, host atoms within 4.2 Å of its middle"
    axes.set(aspect="equal", xlabel="along the hop (Å)", ylabel="across (Å)")
    axes.set_title(title, fontsize="medium")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", frameon=False)


def percolation(axes: Axes, figure: Figure, result: MaterialResult) -> None:
    """In how many dimensions hops up to a barrier connect the crystal to its images."""
    orbits = [scored.hop.orbit for scored in result.hops]
    barriers, order = cheapest_first(orbits, [one.prediction.em_ev for one in result.hops])
    union = PeriodicUnion()
    steps: list[tuple[float, int]] = [(0.0, 0)]
    for hop in order:
        union.add(orbits[hop])
        steps.append((float(barriers[hop]), union.dimension))
    last = steps[-1][0] + 0.3
    axes.step([*(x for x, _ in steps), last], [*(y for _, y in steps), steps[-1][1]],
              where="post", color=COLOURS["Li"], linewidth=2)  # fmt: skip
    for scored in result.hops:
        axes.axvline(scored.prediction.em_ev, ymax=0.04, color="black")
    axes.axvline(GOOD_EV, color="#D55E00", linestyle="--", label=f"{GOOD_EV} eV")
    axes.set(xlabel="hops with Em up to (eV)", ylabel="dimensions that percolate",
             yticks=range(4), xlim=(0, last), title="Percolation of Li in LiFePO₄")  # fmt: skip
    axes.legend(frameon=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
