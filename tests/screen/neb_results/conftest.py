"""A campaign whose hops stand in shortlist folders, and what codes would leave in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from screen.cli import main
from screen.reader import open_reader
from screen.store import Store
from tests.screen.conftest import make_result
from tests.screen.neb.conftest import shortest_hop, write_band

HOSTS = ("LiCoO2", "LiFePO4")


@pytest.fixture
def db(store: Store, path: Path) -> Path:
    """A campaign that predicted the hops of two hosts."""
    store.write("c1", "m@1", [make_result(name) for name in HOSTS])
    store.close()
    return path


def rows(db: Path, table: str = "barriers") -> list[dict[str, Any]]:
    with open_reader(db) as reader:
        return reader.records(f"select * from {table} order by all")


def hop_of(name: str) -> str:
    return shortest_hop(name)[1].id_in(name)


AddCalculation = Callable[..., Path]


@pytest.fixture
def add_calculation(tmp_path: Path) -> AddCalculation:
    """Writes a host's shortest hop for a code and returns the folder that the code runs in."""

    def add(name: str, code: str, *options: str) -> Path:
        shortlist = tmp_path / "shortlist"
        folder = shortlist / f"{HOSTS.index(name):03d}_{name}"
        if not folder.exists():
            crystal, hop = shortest_hop(name)
            write_band(folder, hop.id_in(name), crystal, hop)
        words = ["neb", "write", str(shortlist), "--code", code, "--min-width", "5"]
        assert main([*words, *(options or ("--images", "3"))]) == 0
        return folder / code

    return add


@dataclass(frozen=True)
class Read:
    """What ``screen neb read --json`` said."""

    code: int
    barriers: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    err: str

    @property
    def reasons(self) -> list[str]:
        return [one["reason"] for one in self.refused]


ReadBack = Callable[..., Read]


@pytest.fixture
def read_back(db: Path, capsys: pytest.CaptureFixture[str]) -> ReadBack:
    """Reads places into the campaign's database."""

    def read(*places: Path) -> Read:
        capsys.readouterr()
        code = main(["neb", "read", *map(str, places), "--db", str(db), "--json"])
        said = capsys.readouterr()
        document = json.loads(said.out) if said.out else {"barriers": [], "refused": []}
        return Read(code, document["barriers"], document["refused"], said.err)

    return read


def outcar(energy_ev: float, n_atoms: int, *, gga: str = "PE", relaxed: bool = True) -> str:
    """The lines of an OUTCAR of VASP 6 that say what is asked here, as VASP writes them."""
    plane = "-" * 104
    reached = "reached required accuracy - stopping structural energy minimisation"
    return f"""\
 vasp.6.4.2 20Jul23 (build Nov  1 2023 10:00:00) complex
 running    4 mpi-ranks, with    1 threads/rank
   number of dos      NEDOS =    301   number of ions     NIONS = {n_atoms:6d}
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    \
NBANDS=     20
   ISPIN  =      2    spin polarized calculation?
   NSW    =    200    number of steps for IOM
   IBRION =      1    ionic relax: 0-MD 1-quasi-New 2-CG
   LHFCALC =     F    Hartree Fock is set to
   GGA     =    {gga}    GGA type
   LEXCH   =      8    internal setting
   METAGGA =     --    meta-GGA
 total plane-waves  NPLWV =  4096



{plane}


 k-point   1 :   0.0000 0.0000 0.0000  plane waves:     300

 maximum and minimum number of plane-waves per node :       300      300
------------------------ aborting loop because EDIFF is reached ----------------------------------
  free  energy   TOTEN  =       {energy_ev - 0.001:.8f} eV

  energy  without entropy=      {energy_ev + 0.001:.8f}  energy(sigma->0) =      {energy_ev:.8f}
 NEB: projections on to tangent (spring, REAL)      0.000000      0.012000
 total drift:                                0.001   0.000   0.000
{reached if relaxed else ""}
 General timing and accounting informations for this job:
 ========================================================
                  Total CPU time used (sec):       10.000
"""


def vasprun(energy_ev: float, symbols: Sequence[str], gga: str = "PE") -> str:
    """A vasprun.xml of two ionic steps, with what pymatgen asks of one and no more."""
    basis = "<v>9 0 0</v><v>0 9 0</v><v>0 0 9</v>"
    crystal = f'<crystal><varray name="basis">{basis}</varray></crystal>'
    places = "".join(f"<v>{index / len(symbols)} 0 0</v>" for index in range(len(symbols)))
    inside = f'{crystal}<varray name="positions">{places}</varray></structure>'
    energies = "".join(
        f'<i name="e_{name}">{energy_ev + off}</i>'
        for name, off in (("fr_energy", -0.001), ("wo_entrp", 0.001), ("0_energy", 0.0))
    )
    energy = f"<energy>{energies}</energy>"
    forces = "<v>0 0 0</v>" * len(symbols)
    step = (
        f"<calculation><scstep>{energy}</scstep><structure>{inside}"
        f'<varray name="forces">{forces}</varray>{energy}</calculation>'
    )
    atoms = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in symbols)
    potcar = f"<c>{len(symbols)}</c><c>{symbols[0]}</c><c>1</c><c>1</c><c>PAW_PBE {symbols[0]}</c>"
    nsw = '<i type="int" name="NSW">200</i>'
    return f"""\
<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
<generator><i name="version" type="string">6.4.2</i></generator>
<incar><i type="string" name="GGA">{gga}</i>{nsw}</incar>
<kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray>
</kpoints>
<parameters><i type="int" name="NELM">60</i><i type="int" name="IBRION">1</i>{nsw}</parameters>
<atominfo>
<array name="atoms"><set>{atoms}</set></array>
<array name="atomtypes"><set><rc>{potcar}</rc></set></array>
</atominfo>
<structure name="initialpos">{inside}
{step}{step}
<structure name="finalpos">{inside}
</modeling>
"""


def fill_vasp(folder: Path, energies_ev: Sequence[float], **settings: Any) -> None:
    """Write what VASP leaves: ends in ``endpoints``, the other images in ``neb``."""
    meta = json.loads((folder / "meta.json").read_text())
    last = len(energies_ev) - 1
    for index, energy_ev in enumerate(energies_ev):
        ends = {0: "endpoints/start", last: "endpoints/end"}
        place = folder / ends.get(index, f"neb/{index:02d}")
        (place / "OUTCAR").write_text(outcar(energy_ev, meta["n_atoms"], **settings))
        (place / "CONTCAR").write_text((place / "POSCAR").read_text())
