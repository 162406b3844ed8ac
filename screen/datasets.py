"""Public data sets: where they are, how they are told from others, and how they get here.

A file is asked for in parts and grows under another name, so that an interrupted download goes on
where it stopped. It gets its own name only when its size and sha256 are the expected ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from screen.sources.http import PatientSession

_PART_BYTES = 256 * 1024
"""Asked for at once: what a broken connection loses at most."""

Progress = Callable[[str, int, int], None]
"""Is told a file's name, its bytes so far, and its size."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set."""

    name: str
    """As commands take it, such as ``em-bands-test``."""
    path: str
    """Under the data set's base address; the last part is the file's name on disk."""
    size: int
    """Bytes."""
    sha256: str

    @property
    def filename(self) -> str:
        """On disk."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Dataset:
    """A public data set."""

    name: str
    title: str
    base_url: str
    files: tuple[DataFile, ...]
    license: str
    citation: str


EM_BANDS = Dataset(
    name="em-bands",
    title="literature migration barriers with their bands (MODEL-3), training and test split",
    base_url=(
        "https://raw.githubusercontent.com/sai-mat-group/predicting-migration-barriers/"
        "577fbc45d8edb081a7b67b82f135c55ad0a4a256/"
    ),
    files=(
        DataFile(
            "em-bands-train",
            "DATA_FILES/MODEL-3-4/RAW/RAW-Em-5-images-TRAIN.json",
            4_054_304,
            "e6d5579769d8ac2bdee2bdf462c5f24b3410779c7a768ed6673f0e47f9865c7c",
        ),
        DataFile(
            "em-bands-test",
            "DATA_FILES/MODEL-3-4/RAW/RAW-Em-5-images-TEST.json",
            414_806,
            "7e85991d547c7245d7dbccc9c700c3c94bb107d4a59661cffd53de74338a1aee",
        ),
    ),
    license="MIT",
    citation="R. Devi, K. T. Butler, G. Sai Gautam, npj Comput. Mater. (2026), arXiv:2508.06436",
)

DATASETS = (EM_BANDS,)


def find_dataset(name: str) -> Dataset:
    """A data set by its name.

    Raises:
        UserError: there is none of this name.
    """
    from screen.matminer_sets import SETS

    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    known = ", ".join(one.name for one in (*DATASETS, *SETS))
    raise UserError(f"no data set {name!r}, expected one of: {known}; see `screen data list`")


def default_folder(dataset: Dataset) -> Path:
    """Where a data set is kept unless told otherwise: in the cache, ``IONSCREEN_CACHE``."""
    from screen.sources.cache import default_folder as cache_folder

    return cache_folder() / "data" / dataset.name


def find_data(data: Path) -> Path:
    """The file that ``--data`` means: a path, or the name of a file or set that was fetched.

    Raises:
        UserError: it is the name of a public file or set that is not here, or altered.
    """
    from screen import matminer_sets

    if data.exists():
        return data
    chosen = matminer_sets.find_set(str(data))
    if chosen is not None:
        path = matminer_sets.default_folder() / chosen.filename
        if not path.is_file():
            raise UserError(
                f"{chosen.name} is not here yet (no {path}); "
                f"`screen data fetch {chosen.name}` gets it"
            )
        return path
    for dataset in DATASETS:
        for file in dataset.files:
            if file.name == str(data):
                path = default_folder(dataset) / file.filename
                if not is_whole(path, file):
                    raise UserError(
                        f"{file.name} is not here yet (no {path} of its sha256); "
                        f"`screen data fetch {dataset.name}` gets it"
                    )
                return path
    return data


def is_whole(path: Path, file: DataFile) -> bool:
    """Whether a path holds exactly this file."""
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def fetch(
    dataset: Dataset,
    folder: Path,
    base_url: str | None = None,
    *,
    session: PatientSession,
    progress: Progress = lambda name, done, size: None,
) -> list[Path]:
    """Get the files of a data set that are not here yet.

    Args:
        dataset: which.
        folder: where to; made if it is not there.
        base_url: of a mirror with the same paths under it; None: the data set's own.
        session: asks the server.
        progress: is told of every part.

    Returns:
        The files, in the data set's order.

    Raises:
        UserError: the server has no such file, gives another one, or does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = (base_url or dataset.base_url).rstrip("/")
    found = []
    for file in dataset.files:
        path = folder / file.filename
        if not is_whole(path, file):
            _download(f"{base}/{file.path}", file, path, session, progress)
        progress(file.name, file.size, file.size)
        found.append(path)
    return found


def _download(
    url: str, file: DataFile, path: Path, session: PatientSession, progress: Progress
) -> None:
    part = path.with_name(f".{path.name}.part")
    done = part.stat().st_size if part.is_file() else 0
    if done > file.size:
        part.unlink()
        done = 0
    with part.open("ab") as out:
        while done < file.size:
            progress(file.name, done, file.size)
            content, whole = _ask(url, file, done, session)
            if whole:
                out.truncate(0)
                done = 0
            out.write(content)
            # What is on disk is what the next attempt goes on from.
            out.flush()
            done += len(content)
    if sha256_of(part) != file.sha256:
        part.unlink()
        raise UserError(
            f"{url}: not {file.name} (sha256 other than {file.sha256[:12]}…), nothing is kept; "
            "give the same command again, or another --base-url",
            FAILED,
        )
    part.replace(path)


def _ask(url: str, file: DataFile, done: int, session: PatientSession) -> tuple[bytes, bool]:
    """The next part of a file, and whether it is the whole file instead."""
    from screen.sources.http import ServerError

    last = min(done + _PART_BYTES, file.size) - 1
    # Packed, a range would be one of the packed bytes.
    headers = {"Range": f"bytes={done}-{last}", "Accept-Encoding": "identity"}
    try:
        response = session.get(url, headers=headers, hooks={"response": _is_no_document})
    except ServerError as error:
        found, sep, _ = str(error).rpartition("; ")
        again = "; give the same command again, which goes on from here"
        raise ServerError(f"{found}{again}" if sep else str(error), error.status) from None
    content: bytes = response.content
    if response.status_code == 206:
        expected, found_size = f"bytes {done}-{last}/{file.size}", last + 1 - done
        range_ = response.headers.get("Content-Range", "none")
        if range_ != expected or len(content) != found_size:
            raise _other(url, f"range {range_!r} with {len(content):,} bytes", expected)
        return content, False
    if response.status_code == 200:
        if len(content) != file.size:
            raise _other(url, f"{len(content):,} bytes", f"{file.size:,}")
        return content, True
    what = {404: "no such file", 416: "another, shorter file"}.get(response.status_code, "no file")
    raise UserError(
        f"{url}: {what} (status {response.status_code}), expected {file.name}; "
        "check --base-url, under which the paths must be those of the source",
        FAILED,
    )


def _other(url: str, found: str, expected: str) -> UserError:
    return UserError(f"{url}: {found} found, expected {expected}; try another --base-url", FAILED)


def _is_no_document(response: Any, *_: Any, **__: Any) -> None:
    """A part of a JSON file is no JSON: the session must not take it for a broken document."""
    if response.status_code == 206:
        response.headers["Content-Type"] = "application/octet-stream"


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
