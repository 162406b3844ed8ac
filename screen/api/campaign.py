"""``Campaign``: ``screen run`` from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from screen.api.results import Results
from screen.log import logging_to
from screen.options import RunOptions
from screen.settings import checked, read_config

if TYPE_CHECKING:
    from typing import Unpack

    from screen.estimate import Estimate
    from screen.running import Wanted

_INLINE = {"engine": "inline"}
"""A notebook's engine where nothing else is asked for: Ray takes seconds to start."""


class Options(TypedDict, total=False):
    """Every option of ``screen run`` but the chemical system; docs/configuration.md explains them.

    What takes several values takes one alone too, and paths may be ``pathlib``'s.
    """

    ion: str | None
    db: str | PathLike[str]
    model: str | PathLike[str]
    limit: int | None
    mechanism: Literal["auto", "vacancy", "dilute", "both"]
    sites: str | PathLike[str] | None
    top_sites: int
    max_hops: int
    cutoff: float | None
    source: str | PathLike[str] | Sequence[str | PathLike[str]]
    mp_endpoint: str | None
    include_gnome: bool
    electrodes: bool
    cache: str | PathLike[str] | None
    offline: bool
    refresh: bool
    structure_column: str | None
    id_column: str | None
    ehull_column: str | None
    gap_column: str | None
    max_ehull: float | None
    unknown_ehull: Literal["keep", "reject"] | None
    max_sites: int
    max_elements: int
    exclude: str | Sequence[str]
    theoretical: bool
    radioactive: bool
    other_mobile: bool
    charge_balanced: bool
    band_gap_min: float | None
    keep_duplicates: bool
    engine: Literal["ray", "inline"]
    ray_address: str | None
    num_cpus: int | None
    num_gpus: float | None
    log_file: str | PathLike[str] | None
    hops: Mapping[str, Any]
    band: Mapping[str, Any]
    jobs: Mapping[str, Any]


class Campaign:
    """Crystals to screen, and how: the options of ``screen run`` by their names.

    The same options are the same campaign, here and on the command line: it goes on where it
    stopped, and what is done is not done again. ::

        results = Campaign("Mg-*", source="cifs/", db="mg.duckdb").run(progress=True)

    Args:
        chemsys: chemical systems, such as ``Mg-*``; one or several.
        config: TOML file of options, over which those given here count.
        options: see ``Options``; ``engine`` is ``inline`` unless given here or in the file.

    Raises:
        UserError: an unknown option, or a value that can never work.
    """

    def __init__(
        self,
        chemsys: str | Sequence[str] = (),
        *,
        config: str | PathLike[str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        given = {name: _text(value) for name, value in options.items()}
        if chemsys:
            given["chemsys"] = chemsys
        of_file = read_config(Path(config)) if config is not None else {}
        self.options = RunOptions(**{**_INLINE, **of_file, **checked("Campaign", given)})
        """As they are understood, defaults included."""

    def __repr__(self) -> str:
        return f"Campaign({', '.join(self.options.chemsys) or 'all systems'}, {self.options.db})"

    def run(self, *, fresh: bool = False, progress: bool = False) -> Results:
        """Screen what is left, and hand back what the database holds then.

        Args:
            fresh: start anew under an id of its own rather than go on.
            progress: show how it goes, and notices, on stderr.

        Returns:
            Its ``outcome`` has the counts of this campaign, which may all be zero.

        Raises:
            UserError: the store or the source broke, or the ion and the systems never meet.
            KeyboardInterrupt: it was interrupted; finished materials are in the database, and the
                same call goes on.
        """
        from screen import running

        with logging_to(self.options.log_file):
            what = self._wanted(progress)
            if progress:
                from screen.output import stderr
                from screen.progress import RunProgress

                with RunProgress(stderr()) as ticker:
                    outcome = running.run(what, ticker, fresh)
            else:
                outcome = running.run(what, fresh=fresh)
        if outcome.interrupted:
            raise KeyboardInterrupt
        return Results(Path(self.options.db), outcome=outcome)

    def estimate(self) -> Estimate:
        """How many candidates there are, and what time and disk they will take; runs nothing."""
        from screen.estimate import estimate
        from screen.settings import run_settings

        what = self._wanted(progress=False)
        return estimate(what.source, what.query, run_settings(self.options))

    def _wanted(self, progress: bool) -> Wanted:
        from screen.output import notice
        from screen.running import wanted

        return wanted(self.options, notice if progress else _silent)


def _silent(message: str) -> None:
    """Tell nobody; the log has it."""


def _text(value: Any) -> Any:
    """A value with paths as text."""
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, list | tuple):
        return tuple(_text(entry) for entry in value)
    return value
