"""Tables as a notebook wants them: pandas where it is installed, else Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    import pyarrow as pa

    Frame: TypeAlias = pd.DataFrame | pa.Table


def frame_of(table: pa.Table, as_arrow: bool = False) -> Frame:
    """A table as a pandas ``DataFrame``, or as it is where pandas is missing or not wanted.

    Args:
        table: of Arrow.
        as_arrow: leave it as it is in any case.
    """
    from importlib.util import find_spec

    if as_arrow or find_spec("pandas") is None:
        return table
    return table.to_pandas()


def frame_of_rows(rows: Sequence[Mapping[str, Any]], as_arrow: bool = False) -> Frame:
    """Rows with the same keys as a table, see ``frame_of``."""
    import pyarrow as pa

    return frame_of(pa.Table.from_pylist([dict(row) for row in rows]), as_arrow)
