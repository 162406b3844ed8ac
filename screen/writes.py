"""How a batch of finished materials comes into the tables, within a transaction of the caller's.

Materials that the database has never seen, nearly all of a run, are only added: what that costs is
looked up in indexes, however large the tables are. Of all others everything that a former write
left behind is removed first, which means to look through whole tables.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from screen.database import rows

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Tables = Mapping[str, "pa.Table"]
"""New rows, by the table that they are for."""

_CLEAR = (
    # Failures of a source say nothing of a material that another campaign knows.
    """create or replace temp view arrived as
    select material_id, ion from new_campaign_materials where ion <> ''""",
    # A run by one mechanism says nothing of the hops by another.
    """create or replace temp table others as
    select distinct old.material_id, old.ion, old.mechanism
    from hops old semi join new_hops using (material_id, ion)
    anti join new_hops using (material_id, ion, mechanism)""",
    # A hop that is no longer there, or is another one under the same sites: the crystal changed.
    """create or replace temp table gone as
    select hop_id, old.material_id, old.ion, old.mechanism
    from hops old semi join arrived using (material_id, ion) left join new_hops new using (hop_id)
    where (new.hop_id is null or abs(new.length_a - old.length_a) > 0.001)
    and (old.material_id, old.ion, old.mechanism) not in (select (material_id, ion, mechanism)
        from others)""",
    "delete from hops where hop_id in (select hop_id from gone)",
    "delete from predictions where hop_id in (select hop_id from gone)",
    # Another model's ranking that rests on a hop that is gone no longer holds.
    """delete from material_ranking
    where (material_id, ion, mechanism) in (select (material_id, ion, mechanism) from gone)
    or ((material_id, ion) in (select (material_id, ion) from arrived) and model_id = $model_id
        and (material_id, ion, mechanism) not in (select (material_id, ion, mechanism)
            from others))""",
    """delete from predictions where model_id = $model_id
    and hop_id in (select hop_id from new_hops anti join new_predictions using (hop_id))""",
    """delete from failures where campaign_id = $campaign_id
    and material_id in (select material_id from new_campaign_materials)""",
)
"""What a write removes first: all that it would otherwise leave behind of its materials."""

_CLEARED = frozenset({"material_ranking", "failures"})
"""Tables of which a write has then removed every row that it brings."""

_KEPT = frozenset(
    {
        *("battery_id", "charged_id", "discharged_id"),
        *("voltage_v", "capacity_mah_g", "capacity_mah_cm3"),
    }
)
"""Columns of ``materials`` that a run which did not ask for them leaves as they are."""


def seen(con: DuckDBPyConnection, material_ids: Sequence[str]) -> set[str]:
    """Those of some materials that the database has anything of but failures of a source."""
    # One mark for each, since only a list in the statement itself is looked up in the index.
    marks = ", ".join("?" * len(material_ids))
    found = rows(
        con, f"select material_id from materials where material_id in ({marks})", material_ids
    )
    return {material_id for (material_id,) in found}


def add(con: DuckDBPyConnection, new: Tables, campaign_id: str) -> int:
    """Add what is written of materials that the database has not seen.

    Returns:
        How many rows of ``failures`` went: of a source that has come by a material after all.

    Raises:
        duckdb.ConstraintException: it has seen one, as a failure of the source in this campaign.
    """
    ids = new["campaign_materials"].column("material_id").to_pylist()
    marks = ", ".join("?" * len(ids))
    ((gone,),) = rows(
        con,
        f"delete from failures where campaign_id = ? and material_id in ({marks})",
        [campaign_id, *ids],
    )
    for name, table in new.items():
        if table.num_rows:
            with _registered(con, {name: table}):
                con.execute(f"insert into {name} by name from new_{name}")
    return int(gone)


def replace(con: DuckDBPyConnection, new: Tables, campaign_id: str, model_id: str) -> None:
    """Write materials that the database may have seen: all that it had of them goes, or changes."""
    keys = {"campaign_id": campaign_id, "model_id": model_id}
    with _registered(con, new):
        for statement in _CLEAR:
            used = {key: keys[key] for key in keys if f"${key}" in statement}
            con.execute(statement, used or None)
        for name, table in new.items():
            if table.num_rows:
                con.execute(_insert(name, table.column_names))


@contextlib.contextmanager
def _registered(con: DuckDBPyConnection, new: Tables) -> Iterator[None]:
    """Tables that statements know as ``new_<name>``."""
    import duckdb

    try:
        for name, table in new.items():
            con.register(f"new_{name}", table)
        yield
    finally:
        # Where a statement failed nothing more can be done in its transaction; its end does this.
        with contextlib.suppress(duckdb.Error):
            for name in new:
                con.unregister(f"new_{name}")


def _insert(name: str, columns: Sequence[str]) -> str:
    """The statement that brings a write's rows into a table."""
    if name in _CLEARED:
        return f"insert into {name} by name from new_{name}"
    if name != "materials":
        return f"insert or replace into {name} by name from new_{name}"
    changes = ", ".join(
        f"{column} = coalesce(excluded.{column}, materials.{column})"
        if column in _KEPT
        else f"{column} = excluded.{column}"
        for column in columns
        if column != "material_id"
    )
    return f"insert into materials by name from new_materials on conflict do update set {changes}"
