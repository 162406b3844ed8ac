"""Results in a tree of folders, whatever computed them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pathways.types import PathwayError
from screen.errors import UserError
from screen.neb.run_neb import RESULT
from screen.neb_results.ase_result import lone_calculation, read_ase
from screen.neb_results.axsf import IMAGES
from screen.neb_results.csv_table import is_table, read_csv
from screen.neb_results.documents import documents_of, read_documents
from screen.neb_results.espresso_result import PROFILE, read_espresso
from screen.neb_results.results import Barrier, Calculation, Refusal, calculation_of
from screen.neb_results.vasp_result import has_output, image_folders, read_vasp

_READERS = {"vasp": read_vasp, "qe": read_espresso, "ase": read_ase}

Found = Barrier | Refusal


def read_all(places: list[Path]) -> Iterator[Found]:
    """Every result in folders and files, in the order of their names.

    Args:
        places: folders, searched to the bottom, and CSV or JSON files.

    Raises:
        UserError: a place that is not there, or a file of another kind.
    """
    for place in places:
        if place.is_dir():
            yield from _read_tree(place)
        elif not place.exists():
            raise UserError(f"{place}: no such folder or file")
        elif place.suffix.lower() == ".csv" and is_table(place):
            yield from read_csv(place)
        elif place.suffix.lower() == ".json" and documents_of(place):
            yield from read_documents(place, None)
        else:
            raise UserError(
                f"{place}: expected a folder, a CSV file with hop_id and em_ev, or a NEB document "
                "of atomate2 or emmet as JSON"
            )


def _read_tree(root: Path) -> Iterator[Found]:
    for name, below, files in os.walk(root):
        folder = Path(name)
        below[:] = sorted(one for one in below if not one.startswith("."))
        if "meta.json" in files:
            below.clear()
            yield from _of_folder(folder)
        elif RESULT in files:
            below.clear()
            yield _lone_result(folder)
        elif PROFILE in files or IMAGES in files or _is_vasp(folder, below):
            below.clear()
            yield Refusal(
                str(folder),
                "no_meta",
                "results without meta.json, so of no known hop; copy it from the shortlist",
            )
        else:
            for path in sorted(folder / file for file in files):
                yield from _of_file(path)


def _of_folder(folder: Path) -> Iterator[Found]:
    """What a folder of a written band holds."""
    try:
        calculation = calculation_of(folder)
        if calculation.code == "atomate2":
            yield from _of_flow(calculation)
            return
        reader = _READERS.get(calculation.code)
        if reader is None:
            raise PathwayError(
                "other_code",
                f"meta.json is for {calculation.code or 'no code'!r}, expected "
                f"{', '.join(_READERS)} or atomate2",
            )
        yield reader(calculation)
    except PathwayError as error:
        yield Refusal(str(folder), error.reason, error.detail)
    except OSError as error:
        yield Refusal(str(folder), "unreadable", f"{error.filename}: {error.strerror}")


def _of_flow(calculation: Calculation) -> Iterator[Found]:
    """A flow leaves its document in a database; it is put beside ``flow.json`` by hand."""
    found = [path for path in sorted(calculation.folder.glob("*.json")) if documents_of(path)]
    if not found:
        raise PathwayError("not_run", "no NEB document (JSON) beside flow.json; put it there")
    for path in found:
        yield from read_documents(path, calculation)


def _lone_result(folder: Path) -> Found:
    try:
        return read_ase(lone_calculation(folder))
    except PathwayError as error:
        return Refusal(str(folder), error.reason, error.detail)


def _of_file(path: Path) -> Iterator[Found]:
    suffix = path.suffix.lower()
    if suffix == ".csv" and is_table(path):
        yield from read_csv(path)
    elif suffix == ".json":
        yield from read_documents(path, None)


def _is_vasp(folder: Path, below: list[str]) -> bool:
    """Whether VASP has run a band here."""
    numbered = any(name.isdecimal() for name in below)
    return (numbered or "neb" in below) and any(map(has_output, image_folders(folder)))
