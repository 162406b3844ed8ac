"""``screen neb``: barriers of a shortlist's hops, from inputs to results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from screen.commands import app, command
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from screen.neb.folders import Outcome

neb_app = typer.Typer(no_args_is_help=True, help="Compute the barriers of a shortlist's hops.")
app.add_typer(neb_app, name="neb", epilog="Example: screen neb write shortlist --code vasp")

_CELL, _DFT, _QE = "Cell and path", "Electrons", "Quantum ESPRESSO"

Shortlist = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of `screen shortlist`.")]
CodeName = Annotated[Literal["vasp", "qe", "ase", "atomate2"], typer.Option(help="For which code.")]
Images = Annotated[int, typer.Option(help="Images between the ends.", rich_help_panel=_CELL)]
Linear = Annotated[
    bool,
    typer.Option(
        "--linear", help="The ion on a straight line, in place of IDPP.", rich_help_panel=_CELL
    ),
]
MinWidth = Annotated[float, typer.Option(help="Least width of the cell, Å.", rich_help_panel=_CELL)]
MaxAtoms = Annotated[int, typer.Option(help="Most sites of the cell.", rich_help_panel=_CELL)]
FunctionalName = Annotated[
    Literal["PBE", "PBE+U", "R2SCAN", "SCAN"],
    typer.Option(help="PBE+U: the Materials Project's U.", rich_help_panel=_DFT),
]
ChargeName = Annotated[
    Literal["neutral", "background"],
    typer.Option(
        help="neutral: an atom is missing; background: its ion is, with a uniform charge.",
        rich_help_panel=_DFT,
    ),
]
ProfileName = Annotated[
    Literal["vasp", "vtst"],
    typer.Option(
        help="VASP as it is, or a build with the VTST tools, whose image climbs.",
        rich_help_panel=_DFT,
    ),
]
Magmom = Annotated[
    list[str] | None,
    typer.Option(
        help="First moment of an element, μB: Fe=4; may be repeated. "
        "(default: the Materials Project's)",
        rich_help_panel=_DFT,
    ),
]
PseudoDir = Annotated[
    Path | None,
    typer.Option(help="Folder with one UPF file for each element.", rich_help_panel=_QE),
]
Ecutwfc = Annotated[
    float, typer.Option(min=1, help="Cutoff of wave functions, Ry.", rich_help_panel=_QE)
]
Ecutrho = Annotated[
    float, typer.Option(min=1, help="Cutoff of the density, Ry.", rich_help_panel=_QE)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace inputs, and the results beside them.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@command("screen neb write shortlist --code vasp --functional PBE --profile vtst", to=neb_app)
def write(
    shortlist: Shortlist,
    code: CodeName,
    images: Images = 5,
    linear: Linear = False,
    min_width: MinWidth = 10.0,
    max_atoms: MaxAtoms = 400,
    functional: FunctionalName = "PBE",
    charge: ChargeName = "neutral",
    profile: ProfileName = "vasp",
    magmom: Magmom = None,
    pseudo_dir: PseudoDir = None,
    ecutwfc: Ecutwfc = 60.0,
    ecutrho: Ecutrho = 480.0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write one ready folder per hop for VASP, Quantum ESPRESSO, ASE or atomate2.

    Each hop's own folder gets one named after the code. What stands in it, and how, is in its
    meta.json. Neither POTCARs nor pseudopotentials are written.
    """
    from screen.neb.folders import write_shortlist
    from screen.neb.settings import NebSettings
    from screen.output import print_json

    settings = NebSettings(
        images=images,
        linear=linear,
        min_width_a=min_width,
        max_atoms=max_atoms,
        functional=functional,
        charge=charge,
        profile=profile,
        magmom=_moments(magmom or []),
        pseudo_dir=pseudo_dir,
        ecutwfc_ry=ecutwfc,
        ecutrho_ry=ecutrho,
    )
    outcomes = list(write_shortlist(shortlist, code, settings, overwrite))
    if as_json:
        print_json([vars(outcome) for outcome in outcomes])
    else:
        _report(outcomes)
    if all(outcome.state == "failed" for outcome in outcomes):
        raise UserError(
            f"{shortlist}: none of {len(outcomes)} hops could be written; "
            f"first: {outcomes[0].reason}: {outcomes[0].detail}",
            FAILED,
        )


def _moments(given: list[str]) -> dict[str, float]:
    """Moments by element from ``Fe=4``."""
    from pathways.elements import atomic_number

    moments = {}
    for entry in given:
        element, _, value = entry.partition("=")
        try:
            atomic_number(element)
            moments[element] = float(value)
        except ValueError:
            raise UserError(f"--magmom {entry!r}, expected an element and μB: Fe=4") from None
        if not math.isfinite(moments[element]):
            raise UserError(f"--magmom {entry!r}, expected a finite number")
    return moments


def _report(outcomes: list[Outcome]) -> None:
    from screen.output import notice, print_table

    rows = [
        (outcome.state, outcome.n_atoms, outcome.n_images, outcome.folder) for outcome in outcomes
    ]
    print_table(("state", "atoms", "images", "folder"), rows, right=("atoms", "images"))
    for outcome in outcomes:
        if outcome.state == "failed":
            notice(f"{outcome.folder.parent.name}: {outcome.reason}: {outcome.detail}")
    kept = sum(outcome.state == "kept" for outcome in outcomes)
    if kept:
        notice(f"{kept} written before and kept; --overwrite replaces them, results and all")
