"""The user's side: commands, sources, store, ranking; and the same from Python.

``Campaign`` runs a campaign, ``open_results`` reads what one found, ``predict`` does one crystal::

    from screen import Campaign, open_results, predict

    results = Campaign("Mg-*", limit=8, db="mg.duckdb").run()
    results.materials()                      # a table
    predict("MgMn2O4.cif", ion="Mg").hops    # without a database

What is wrong with a call or a crystal is raised as ``screen.errors.UserError``, in one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from screen.api.campaign import Campaign
    from screen.api.material import Hop, Material, Percolation
    from screen.api.prediction import predict
    from screen.api.refused import RefusedError
    from screen.api.results import Results, open_results

__all__ = [
    "Campaign",
    "Hop",
    "Material",
    "Percolation",
    "RefusedError",
    "Results",
    "open_results",
    "predict",
]

_MODULES = {
    "Campaign": "campaign",
    "Hop": "material",
    "Material": "material",
    "Percolation": "material",
    "RefusedError": "refused",
    "Results": "results",
    "open_results": "results",
    "predict": "prediction",
}
"""Where each name is; imported when it is first asked for, since the commands need none of it."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.api.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
