"""What a report tells of a campaign, read from the database as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from screen.errors import NothingToShow
from screen.neb_profiles import read_profiles
from screen.queries import campaigns, models_that_ranked, ranked_model
from screen.reader import Reader

Record = dict[str, Any]

MOST_ROWS = 10_000
"""Of the ranked table; figures are of all."""

BIN_EV, OPEN_BIN = 0.05, 60
"""Width of a histogram's bins, and the index of the last one, which has no upper end."""
_RANKED = """
select row_number() over (order by em_1d_ev nulls last, dimension desc, material_id, ion,
        mechanism desc) as rank,
    {columns}
from material_rankings where model_id = $model order by rank limit $n
"""
_FEW_COLUMNS = """
material_id, formula, chemsys, ion, mechanism, em_1d_ev, energy_above_hull_ev, voltage_v,
capacity_mah_g
"""
_HOP_BINS = f"""
select h.ion, count(*) as n,
    greatest(0, least({OPEN_BIN}, floor(p.em_ev / {BIN_EV} + 1e-9)))::integer as bin
from predictions p join hops h using (hop_id)
where p.model_id = $model and isfinite(p.em_ev) group by all order by all
"""
_WRITTEN = """
select date_trunc('second', written_at) as moment, count(*) as n,
    sum(n_predicted)::bigint as predicted
from campaign_materials where campaign_id = $campaign group by all order by moment
"""
_TERMS = """
select distinct coalesce(attribution, source) as attribution, license, source, source_version
from materials order by all
"""


@dataclass(frozen=True)
class Contents:
    """Everything on the page but the single materials."""

    database: str
    """Name of the file."""
    snapshot_age_s: float | None
    """Seconds since the snapshot that was read while a run writes; None: the database itself."""
    campaigns: tuple[Record, ...]
    """As ``screen status`` has them, the latest first, with ``settings`` and ``written``."""
    models: tuple[str, ...]
    """That have ranked materials, the latest first."""
    model_id: str | None
    """Whose barriers these are; None where nothing is ranked."""
    best: tuple[Record, ...] = ()
    """The first ``MOST_ROWS`` of the ranking."""
    ranked: tuple[Record, ...] = ()
    """All of it, in few columns."""
    hop_bins: tuple[Record, ...] = ()
    """``ion``, ``n`` and ``bin``, of width ``BIN_EV``."""
    terms: tuple[Record, ...] = ()
    """``attribution``, ``license``, ``source`` and ``source_version`` of the materials."""
    card: Record | None = None
    """The model's card, where its folder is known."""
    groups: tuple[Any, ...] = ()
    """``screen.parity.Group`` of the barriers that came back."""
    no_groups: str = ""
    """Why there are none."""
    profiles: tuple[Record, ...] = ()
    """Energies along bands that came back, as ``screen.neb_profiles`` reads them."""
    corrections: tuple[Record, ...] = ()
    """Of barriers without DFT, as ``screen.parity.read_corrections`` has them."""
    comparison: Any = None
    """``screen.model_comparison.ModelComparison`` with the model that ranked before."""
    ions: tuple[str, ...] = field(default=())
    """Of the ranking, the most frequent first."""


def read_contents(reader: Reader, model: str | None) -> Contents:
    """What the database holds of one model's campaign.

    Args:
        reader: of the database.
        model: id or name of a model that has ranked, or a model's folder; None takes the last.

    Raises:
        NothingToShow: there is no campaign.
        UserError: the model has ranked nothing, or several are of that name.
    """
    from screen.parity import read_corrections

    found = campaigns(reader)
    if not found:
        raise NothingToShow(f"{reader.path}: no campaign yet; `screen run` makes one")
    known = [row["model_id"] for row in models_that_ranked(reader)]
    model_id = _chosen(model, known, reader)
    groups, no_groups = _groups(reader, model_id)
    ranked = _ranked(reader, model_id, _FEW_COLUMNS, None)
    return Contents(
        database=reader.path.name,
        snapshot_age_s=reader.snapshot_age_s,
        campaigns=tuple(_with_settings(reader, campaign) for campaign in found),
        models=tuple(known),
        model_id=model_id,
        best=tuple(_ranked(reader, model_id, "*", MOST_ROWS)),
        ranked=tuple(ranked),
        hop_bins=tuple(reader.records(_HOP_BINS, {"model": model_id})),
        terms=tuple(reader.records(_TERMS)),
        card=_card(model, model_id),
        groups=tuple(groups),
        no_groups=no_groups,
        profiles=tuple(read_profiles(reader)),
        corrections=tuple(read_corrections(reader)),
        comparison=_comparison(reader, known, model_id),
        ions=tuple(by_frequency(row["ion"] for row in ranked)),
    )


def by_frequency(values: Any) -> list[Any]:
    """Distinct values, the most frequent first, then by name."""
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return sorted(counts, key=lambda value: (-counts[value], str(value)))


def _chosen(model: str | None, known: Sequence[str], reader: Reader) -> str | None:
    """The id that is meant by an id, a name or a folder."""
    if model is None:
        return known[0] if known else None
    of_folder = None if model in known else _id_of_folder(model)
    return of_folder if of_folder in known else ranked_model(reader, model)


def _id_of_folder(model: str) -> str | None:
    from models.checkpoint import ModelError, find_model, model_id

    try:
        return model_id(find_model(model))
    except ModelError:
        return None


def _card(model: str | None, model_id: str | None) -> Record | None:
    """The card of a shipped model, or of the folder that was passed."""
    from models.checkpoint import ModelError, find_model, read_card
    from models.checkpoint import model_id as id_of

    for name in (model, (model_id or "").rpartition("@")[0]):
        try:
            if name and id_of(folder := find_model(name)) == model_id:
                return read_card(folder)
        except (ModelError, OSError):
            continue
    return None


def _ranked(reader: Reader, model_id: str | None, columns: str, n: int | None) -> list[Record]:
    return reader.records(_RANKED.format(columns=columns), {"model": model_id, "n": n})


def _with_settings(reader: Reader, campaign: Record) -> Record:
    import json

    name = campaign["campaign_id"]
    [row] = reader.records(
        "select settings::text as settings from campaigns where campaign_id = $id", {"id": name}
    )
    written = reader.records(_WRITTEN, {"campaign": name})
    return {**campaign, "settings": json.loads(row["settings"]), "written": written}


def _groups(reader: Reader, model_id: str | None) -> tuple[list[Any], str]:
    from screen.parity import read_groups

    try:
        return read_groups(reader, model_id), ""
    except NothingToShow as reason:
        return [], str(reason)


def _comparison(reader: Reader, known: Sequence[str], model_id: str | None) -> Any:
    """The chosen model against the last of the others."""
    from screen.model_comparison import compare_models

    others = [one for one in known if one != model_id]
    if model_id is None or not others:
        return None
    try:
        return compare_models(reader, others[0], model_id)
    except NothingToShow:
        return None
