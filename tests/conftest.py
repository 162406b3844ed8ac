"""What several test packages share: the folder of data sets that are not committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of labelled bands and snapshots; the test is skipped where it is absent."""
    folder = Path(os.environ.get("IONSCREEN_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; set IONSCREEN_DATA to their folder")
    return folder
