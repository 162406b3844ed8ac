"""Bulk properties of the matminer package, for whoever has it: downloaded by it, kept as our table.

Matminer (Ward et al., Comput. Mater. Sci. 152, 60 (2018), doi:10.1016/j.commatsci.2018.05.018) is
no dependency: its address, its checksum and its reading of a set are used where it is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from models.bulk import BulkTable, Property
    from pathways.types import Crystal

_MATBENCH = "doi:10.1038/s41524-020-00406-3"
_BYTES_EACH = 60_000
"""Of memory that matminer 0.10.1 takes to read a structure of 28 atoms, measured on 30,000."""


@dataclass(frozen=True)
class MatminerSet:
    """A set of crystals with one property, as matminer names it."""

    name: str
    """As commands take it; matminer's has ``_`` for ``-``."""
    title: str
    entries: int
    column: str
    """Of matminer's table."""
    label: str
    """What the column is here: the name of one of ``models.bulk.KNOWN`` or one of its own."""
    citation: str
    license: str = "CC BY 4.0 (Materials Project)"
    log10: bool = False
    """Whether the column holds decimal logarithms."""
    identifier: str = ""
    """Column that names the rows; none: they are counted."""

    @property
    def matminer_name(self) -> str:
        """What matminer calls it."""
        return self.name.replace("-", "_")

    @property
    def filename(self) -> str:
        """Of the table on disk."""
        return f"{self.name}.h5"


SETS = (
    MatminerSet(
        "matbench-log-gvrh",
        "shear modulus, Voigt-Reuss-Hill (Matbench)",
        10_987,
        "log10(G_VRH)",
        "shear_modulus",
        f"{_MATBENCH}, doi:10.1038/sdata.2015.9",
        log10=True,
    ),
    MatminerSet(
        "matbench-phonons",
        "highest peak of the phonon density of states (Matbench)",
        1_265,
        "last phdos peak",
        "phonon_peak",
        f"{_MATBENCH}, doi:10.1038/sdata.2018.65",
        license="see doi:10.6084/m9.figshare.c.3938023.v1",
    ),
    MatminerSet(
        "matbench-mp-e-form",
        "formation energy (Matbench)",
        132_752,
        "e_form",
        "formation_energy",
        f"{_MATBENCH}, doi:10.1063/1.4812323",
    ),
    MatminerSet(
        "matbench-mp-gap",
        "PBE band gap (Matbench)",
        106_113,
        "gap pbe",
        "band_gap",
        f"{_MATBENCH}, doi:10.1063/1.4812323",
    ),
    MatminerSet(
        "matbench-dielectric",
        "refractive index (Matbench)",
        4_764,
        "n",
        "refractive_index",
        f"{_MATBENCH}, doi:10.1038/sdata.2016.134",
    ),
    MatminerSet(
        "piezoelectric-tensor",
        "piezoelectric modulus",
        941,
        "eij_max",
        "piezo",
        "doi:10.1038/sdata.2015.53",
        identifier="material_id",
    ),
    MatminerSet(
        "dielectric-constant",
        "dielectric constant, electronic and ionic, mean of the axes",
        1_056,
        "poly_total",
        "dielectric",
        "doi:10.1038/sdata.2016.134",
        identifier="material_id",
    ),
    MatminerSet(
        "jarvis-dft-2d",
        "OptB88vdW band gap of two-dimensional crystals (JARVIS-DFT)",
        636,
        "gap opt",
        "jarvis2d_band_gap",
        "doi:10.1038/s41598-017-05402-0",
        license="see doi:10.6084/m9.figshare.6815705.v1",
        identifier="jid",
    ),
)


def find_set(name: str) -> MatminerSet | None:
    """The set of a name, matminer's own spelling included; None where there is none."""
    return next((one for one in SETS if one.name == name.replace("_", "-")), None)


def default_folder() -> Path:
    """Where tables and matminer's own files are kept: in the cache, ``IONSCREEN_CACHE``."""
    from screen.sources.cache import default_folder as cache_folder

    return cache_folder() / "data" / "matminer"


def is_installed() -> bool:
    """Whether there is a matminer to ask, without importing it."""
    return importlib.util.find_spec("matminer") is not None


def find_property(chosen: MatminerSet) -> Property:
    """What a set's labels are, with unit; a property of its own name where we know none."""
    from models.bulk import KNOWN, Property

    own = Property(chosen.label, chosen.label)
    return next((one for one in KNOWN if one.name == chosen.label), own)


def matminer_datasets(name: str) -> Any:
    """The module ``matminer.datasets``, which knows, downloads and reads the sets.

    Raises:
        UserError: matminer, or what it needs, is not installed.
    """
    try:
        return importlib.import_module("matminer.datasets")
    except ImportError as error:
        raise UserError(
            f"{name} comes by the package matminer, which is not usable here ({error}); "
            "`pip install matminer` in this environment, then give the same command again",
            FAILED,
        ) from None


def references(chosen: MatminerSet) -> str:
    """Matminer's references of a set on one line.

    Raises:
        UserError: matminer is not installed.
    """
    entries = matminer_datasets(chosen.name).get_dataset_citations(chosen.matminer_name)
    return "; ".join(dict.fromkeys(map(short_reference, entries)))


def short_reference(bibtex: str) -> str:
    """First author, place, year and address of a BibTeX entry."""
    found = re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{[^{}]*\})*)\}", bibtex)
    fields = {name.lower(): " ".join(re.sub("[{}]", "", value).split()) for name, value in found}
    if not {"author", "year"} <= set(fields):
        return " ".join(bibtex.split())[:120]
    authors = fields["author"].split(" and ")
    place = " ".join(
        fields[name] for name in ("journal", "volume", "pages") if name in fields
    ) or fields.get("title", "")
    doi = fields.get("doi")
    address = f"doi:{doi}" if doi else fields.get("url", "").replace("http://dx.doi.org/", "doi:")
    who = authors[0].split(",")[0] + (" et al." if len(authors) > 1 else "")
    return ", ".join(part for part in (who, f"{place} ({fields['year']})", address) if part)


def fetch_table(chosen: MatminerSet, folder: Path) -> tuple[Path, BulkTable | None]:
    """Get a set by matminer and write it as a table of bulk properties.

    Matminer's own file stays in the cache, whatever the folder, so that it is asked for once.

    Args:
        chosen: which.
        folder: where the table goes; made if it is not there.

    Returns:
        The table's file, and the table with the rows left out; None where it was here already.

    Raises:
        UserError: matminer is not installed, the download or the set cannot be read, or the table
            cannot be written.
    """
    from models.bulk_files import write_bulk

    datasets = matminer_datasets(chosen.name)
    digest = datasets.get_dataset_attribute(chosen.matminer_name, "hash")
    path = folder / chosen.filename
    if _made_from(path) == digest:
        return path, None
    table = bulk_table(_load(datasets, chosen, digest), chosen, digest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bulk(table, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); check -o", FAILED
        ) from None
    return path, table


def _made_from(path: Path) -> str | None:
    """sha256 of what a table was made from; None where there is no table."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("digest"))
    except OSError:
        return None


def _load(datasets: Any, chosen: MatminerSet, digest: str) -> Any:
    """Matminer's table of a set, downloaded by it if need be."""
    from screen.output import notice

    home = default_folder()
    kind = datasets.get_dataset_attribute(chosen.matminer_name, "file_type")
    file = home / f"{chosen.matminer_name}.{kind}"
    # Matminer checks what it has just downloaded and nothing else, and leaves it when it is wrong.
    _remove_altered(file, digest)
    memory_gb = chosen.entries * _BYTES_EACH / 1e9
    if memory_gb >= 1:
        notice(f"{chosen.name}: matminer takes minutes and about {memory_gb:.0f} GB to read it")
    try:
        with _notices():
            # Its bar would write out the whole set as one text to count what is in it.
            return datasets.load_dataset(chosen.matminer_name, data_home=str(home), pbar=False)
    except (OSError, UserWarning, ValueError, KeyError) as error:
        _remove_altered(file, digest)
        raise UserError(
            f"{chosen.name}: matminer could not get it ({type(error).__name__}: {error}); check "
            f"the network, or put its file of sha256 {digest[:12]}… at {file}",
            FAILED,
        ) from None


def _remove_altered(file: Path, digest: str) -> None:
    from screen.datasets import sha256_of

    if file.is_file() and sha256_of(file) != digest:
        file.unlink()


@contextlib.contextmanager
def _notices() -> Iterator[None]:
    """What matminer prints and warns of goes to stderr, where it is no result."""
    from screen.output import notice

    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module="matminer")
        warnings.showwarning = lambda message, *_, **__: notice(f"matminer: {message}")
        yield


def bulk_table(frame: Any, chosen: MatminerSet, digest: str) -> BulkTable:
    """The rows that have an ordered structure and a finite label; the others are named.

    Args:
        frame: matminer's table, a pandas ``DataFrame``.
        chosen: which set it is.
        digest: sha256 of matminer's file.

    Raises:
        UserError: it lacks a column, or no row can be used.
    """
    import numpy as np

    from models.bulk import BulkTable

    missing = {"structure", chosen.column} - set(frame.columns)
    if missing:
        raise UserError(
            f"{chosen.name}: no column {', '.join(sorted(missing))} in matminer's table, found "
            f"{', '.join(map(str, frame.columns))}; another version of matminer may have it",
            FAILED,
        )
    counted = (f"{chosen.name}-{row}" for row in range(len(frame)))
    given = frame[chosen.identifier] if chosen.identifier in frame.columns else counted
    kept: list[tuple[str, Crystal, float]] = []
    refused: list[tuple[str, str]] = []
    for name, structure, value in zip(
        map(str, given), frame["structure"], frame[chosen.column], strict=True
    ):
        try:
            kept.append((name, _crystal(structure), _label(value, chosen)))
        except ValueError as error:
            refused.append((name, str(error)))
    if not kept:
        first = f"; first: {refused[0][1]}" if refused else ""
        raise UserError(f"{chosen.name}: none of {len(frame)} rows can be used{first}", FAILED)
    names, crystals, labels = zip(*kept, strict=True)
    return BulkTable(
        names=names,
        crystals=crystals,
        properties=(find_property(chosen),),
        labels=np.array(labels)[:, None],
        published_test=np.zeros((len(kept), 1), dtype=np.bool_),
        refused=tuple(refused),
        source=f"matminer {chosen.matminer_name}",
        digest=digest,
    )


def _label(value: Any, chosen: MatminerSet) -> float:
    """A value of the column in the property's unit."""
    try:
        label = float(value)
        label = 10.0**label if chosen.log10 else label
    except (TypeError, ValueError, OverflowError):
        label = math.nan
    if not math.isfinite(label):
        raise ValueError(f"{chosen.column} is {value!r}, expected a number")
    return label


def _crystal(structure: Any) -> Crystal:
    from pymatgen.core.structure import Structure

    from pathways.convert import crystal_from_structure

    if not isinstance(structure, Structure):
        raise ValueError(f"no structure but {type(structure).__name__}")
    return crystal_from_structure(structure)
