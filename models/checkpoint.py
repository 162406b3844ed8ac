"""A model on disk: a folder of weights (safetensors), config and card (JSON), never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from models.blend import Blend
from models.calibration import Calibration
from models.estimate import BarrierModel
from models.graph import GraphSettings
from models.networks import Ensemble

FORMAT = 1
SHIPPED = Path(__file__).parent / "weights"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.json"
_DIGEST = "weights_sha256"
"""Key of the card's file under which the digest of the weights stands."""
_KINDS: dict[str, type[Ensemble] | type[Blend]] = {"networks": Ensemble, "blend": Blend}


class ModelError(ValueError):
    """A model that is not there or cannot be read; one line with what to do."""


@dataclass(frozen=True)
class ModelInfo:
    """A model that ``find_model`` finds."""

    name: str
    model_id: str
    path: Path
    summary: str


def list_models() -> list[ModelInfo]:
    """The shipped models."""
    folders = sorted(SHIPPED.iterdir()) if SHIPPED.is_dir() else []
    return [
        ModelInfo(folder.name, model_id(folder), folder, str(read_card(folder).get("summary", "")))
        for folder in folders
        if (folder / CONFIG).is_file()
    ]


def find_model(name_or_path: str | Path) -> Path:
    """Folder of a shipped model by name, or of any model by path.

    Raises:
        ModelError: neither is there.
    """
    for folder in (SHIPPED / str(name_or_path), Path(name_or_path)):
        if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            return folder
    known = ", ".join(info.name for info in list_models()) or "none"
    raise ModelError(
        f"no model {str(name_or_path)!r}: expected a shipped one ({known}) "
        f"or a folder with {CONFIG} and {WEIGHTS}; see `screen models list`"
    )


def model_id(folder: Path) -> str:
    """``<name>@<12 hex>``: sha256 of config and weights."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return f"{_read_config(folder)['name']}@{digest.hexdigest()[:12]}"


def read_card(folder: Path) -> dict[str, Any]:
    """The model card: data, how the scores were obtained, and the scores."""
    card: dict[str, Any] = _read_json(folder / CARD)
    return {key: value for key, value in card.items() if key != _DIGEST}


def read_graph_settings(folder: Path) -> GraphSettings:
    """How the model's graphs are built, without loading its weights."""
    return GraphSettings(**_read_config(folder)["graph"])


def load(folder: Path, device: torch.device | str = "cpu") -> BarrierModel:
    """A model ready to predict.

    Raises:
        ModelError: a file is missing, corrupt, of another format or of other sizes, or the weights
            are not those that the card was written with.
    """
    config = _read_config(folder)
    _check_weights(folder)
    try:
        kind = _KINDS[config.get("kind", "networks")]
        calibration = Calibration(
            tuple(config["calibration"]["scale"]), tuple(config["calibration"]["quantiles"])
        )
        graph = GraphSettings(**config["graph"])
        weights = load_file(folder / WEIGHTS, device=str(device))
        return kind.restore(config["name"], graph, calibration, config, weights)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _unreadable(folder, error) from None


def check(folder: Path) -> None:
    """Refuse a model whose files cannot be read, without loading its weights.

    Raises:
        ModelError: config or weights are missing, corrupt or of another format, or the weights are
            not those that the card was written with.
    """
    _read_config(folder)
    _check_weights(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as weights:
            weights.keys()
    except (SafetensorError, OSError) as error:
        raise _unreadable(folder, error) from None


def _check_weights(folder: Path) -> None:
    """Refuse weights whose digest is not the card's; a folder without a card says nothing."""
    if not (folder / CARD).is_file():
        return
    card = _read_json(folder / CARD)
    expected = card.get(_DIGEST) if isinstance(card, dict) else None
    if expected is not None and _digest(folder / WEIGHTS) != expected:
        raise ModelError(
            f"{folder}: not a readable model: the sha256 of {WEIGHTS} is not the one in {CARD}; "
            "copy the folder again"
        )


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _unreadable(folder: Path, error: Exception) -> ModelError:
    first = str(error).splitlines()[0] if str(error) else ""
    return ModelError(
        f"{folder}: not a readable model ({type(error).__name__}: {first}); "
        "copy the folder again or train anew with `screen train`"
    )


def save(
    model: BarrierModel,
    card: dict[str, Any],
    folder: Path,
    form: int | str = FORMAT,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model's folder, whole or not at all; an existing one is replaced.

    Args:
        model: of any kind.
        card: as JSON.
        folder: to write.
        form: another than ``FORMAT`` for what must not predict.
        more: further files by name.
    """
    config = {
        "format": form,
        "kind": next(name for name, kind in _KINDS.items() if isinstance(model, kind)),
        "name": model.name,
        "graph": asdict(model.graph),
        "calibration": asdict(model.calibration),
        **model.config(),
    }
    write_folder(folder, config, model.weights(), card, more)


def write_folder(
    folder: Path,
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    card: dict[str, Any],
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write config, weights, card and further files as a folder, whole or not at all."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(weights, temporary / WEIGHTS)
    # It comes readable by its owner alone, but models are shared like the JSON beside them.
    (temporary / WEIGHTS).chmod((temporary.stat().st_mode | 0o200) & 0o666)
    (temporary / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    signed = {**card, _DIGEST: _digest(temporary / WEIGHTS)}
    (temporary / CARD).write_text(json.dumps(signed, indent=1) + "\n")
    for name, content in (more or {}).items():
        (temporary / name).write_bytes(content)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old)
    else:
        temporary.rename(folder)


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: not readable as JSON ({error}); copy the model again") from None


def _read_config(folder: Path) -> dict[str, Any]:
    config = _read_json(folder / CONFIG)
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"{folder}: model format {found}, this version reads {FORMAT}; "
            "train it anew or install the version that wrote it"
        )
    checked: dict[str, Any] = config
    return checked
