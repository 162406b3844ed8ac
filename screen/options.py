"""Everything that ``screen run`` can be told: each option once, with its default and its help.

The command line and the TOML file are both read off this class. Light: only the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models import DEFAULT_MODEL

DEFAULT_DB = "ionscreen.duckdb"
DEFAULT_MAX_ELEMENTS = 6
"""Most elements of a system that ``*`` reaches."""


def _option(default: Any, panel: str, text: str, shown: str | None = None) -> Any:
    """A field that is an option of the command line too.

    Args:
        default: What it is when it is not given.
        panel: Heading of the help that it stands under.
        text: Its help.
        shown: The default in words; None shows it as it is, empty shows nothing.
    """
    words = str(default) if shown is None else shown
    if shown is None and isinstance(default, bool):
        words = "yes" if default else ""
    text = f"{text} (default: {words})" if words else text
    return field(default=default, metadata={"panel": panel, "help": text})


_WHAT, _WHERE, _FILTERS, _HOW = "What to screen", "Sources", "Filters", "Machines"


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; those without help stand in a file only."""

    chemsys: tuple[str, ...] = _option(
        (), _WHAT, "Chemical system: Mg-*, Mg-? or Mg-Mn-O; may be repeated.", ""
    )
    ion: str | None = _option(None, _WHAT, "The ion to move.", "from --chemsys")
    db: str = _option(DEFAULT_DB, _WHAT, "Database.")
    model: str = _option(DEFAULT_MODEL, _WHAT, "A model's name or folder.")
    limit: int | None = _option(None, _WHAT, "Most candidates.", "all")
    mechanism: str = _option(
        "auto",
        _WHAT,
        "vacancy (all other sites filled), dilute (all others empty), both, or auto.",
        "auto: both for a known insertion electrode (--electrodes), else vacancy",
    )
    sites: str | None = _option(
        None,
        _WHAT,
        "Sites of the ion in hosts that hold none: 'ranked' (voids by bond valence), 'chgnet' "
        "(those of least energy, slow, extra mlip), 'electrodes' (mp: charged electrodes, "
        "like their discharged crystals), a CSV of material_id,x,y,z (fractional), or a file of "
        "crystals of the same framework.",
        "such hosts are left out",
    )
    top_sites: int = _option(1, _WHAT, "Kinds of voids that --sites ranked fills.")
    max_hops: int = _option(40, _WHAT, "Most hops of a material, shortest first.")
    cutoff: float | None = _option(
        None, _WHAT, "Longest hop, Å.", "the least that percolates in 2D"
    )

    source: tuple[str, ...] = _option(
        (),
        _WHERE,
        "mp, catalog, optimade:NAME, optimade:URL, or paths and globs; see `screen sources`.",
        "mp with MP_API_KEY, else catalog",
    )
    mp_endpoint: str | None = _option(
        None, _WHERE, "Address of the Materials Project's server.", "MP_API_ENDPOINT or its own"
    )
    include_gnome: bool = _option(
        False, _WHERE, "Take GNoME materials too, whose licence (BY-NC) forbids commercial use."
    )
    electrodes: bool = _option(
        False, _WHERE, "Voltage and capacity of insertion electrodes from the Materials Project."
    )
    cache: str | None = _option(
        None, _WHERE, "Folder of what was pulled.", "IONSCREEN_CACHE or the user's cache"
    )
    offline: bool = _option(False, _WHERE, "Take all from the cache, ask no server.")
    refresh: bool = _option(False, _WHERE, "Pull all anew.")
    structure_column: str | None = _option(
        None, _WHERE, "Column of a table that holds the structures.", "structure"
    )
    id_column: str | None = _option(None, _WHERE, "Column of the ids.", "material_id")
    ehull_column: str | None = _option(
        None, _WHERE, "Column of the energies above the hull, eV/atom.", "by its usual names"
    )
    gap_column: str | None = _option(
        None, _WHERE, "Column of the band gaps, eV.", "by its usual names"
    )

    max_ehull: float | None = _option(0.1, _FILTERS, "Most energy above the hull, eV/atom.")
    unknown_ehull: str | None = _option(
        None,
        _FILTERS,
        "keep or reject what has no known energy above the hull.",
        "reject from mp, keep from others",
    )
    max_sites: int = _option(200, _FILTERS, "Most sites in a cell.")
    max_elements: int = _option(DEFAULT_MAX_ELEMENTS, _FILTERS, "Most elements that * reaches.")
    exclude: tuple[str, ...] = _option(
        (), _FILTERS, "Elements that no candidate may hold: Pb,Cd; may be repeated.", ""
    )
    theoretical: bool = _option(
        True, _FILTERS, "Take materials that are known from computation only."
    )
    radioactive: bool = _option(False, _FILTERS, "Take radioactive elements.")
    other_mobile: bool = _option(
        True, _FILTERS, "Take crystals with another of Li, Na, K, Rb, Mg, Ca, Sr, Zn, Al."
    )
    charge_balanced: bool = _option(
        False, _FILTERS, "Ask for common oxidation states that add up to zero."
    )
    band_gap_min: float | None = _option(
        None, _FILTERS, "Least band gap, eV, for electrolytes.", "any"
    )
    keep_duplicates: bool = _option(False, _FILTERS, "Take one crystal under every id it has.")

    engine: str = _option("ray", _HOW, "ray or inline.")
    ray_address: str | None = _option(None, _HOW, "HOST:PORT of a running Ray.", "start one here")
    num_cpus: int | None = _option(None, _HOW, "CPUs to use.", "all")
    num_gpus: float | None = _option(None, _HOW, "GPUs to use.", "all")
    log_file: str | None = _option(
        None, _HOW, "File that events are added to, one JSON object a line.", "none"
    )

    hops: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``HopSettings``."""
    band: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``BandSettings``."""
    jobs: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``RunSettings`` that are no options of their own."""
