"""What all tests share: a machine without a way out, and the folder of data sets."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.netguard.sitecustomize import install

ROOT = Path(__file__).parent.parent
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy"}
_KEYS = {"MP_API_KEY", "MAPI_KEY", "PMG_MAPI_KEY", "MP_API_ENDPOINT", "PMG_MAPI_ENDPOINT"}


def pytest_configure(config: pytest.Config) -> None:
    """Let neither tests nor their child processes out, or find what is the user's own."""
    install()
    for name in list(os.environ):
        if name in _KEYS or name.startswith("MPRESTER_") or name.lower() in _PROXIES:
            del os.environ[name]
    folders = [str(ROOT / "tests" / "netguard"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    # pymatgen would else read a key from the user's home.
    os.environ["PMG_CONFIG_FILE"] = os.devnull
    cache = tempfile.TemporaryDirectory(prefix="ionscreen-cache-")
    os.environ["IONSCREEN_CACHE"] = cache.name
    config.add_cleanup(cache.cleanup)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of labelled bands and snapshots; the test is skipped where it is absent."""
    folder = Path(os.environ.get("IONSCREEN_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; set IONSCREEN_DATA to their folder")
    return folder
