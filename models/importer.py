"""Published checkpoints in: the weights of ALIGNN networks that DGL's package wrote.

Two kinds of checkpoint are known. The plain package's network ends in one linear layer (``fc``).
The multi-property network of Devi, Butler and Sai Gautam (npj Comput. Mater. 10, 300 (2024)) ends
in ``conv_to_fc``, ``fc_hp`` and ``fc_out`` with SiLU before each; with one output it is their
MODEL-3 (arXiv 2508.06436). MODEL-1 with added vectors has the same names, so that only the
checkpoint's origin tells the two apart; the other variants have more arrays and are refused.

What such a network gives is a target in the scale of its training; ``models.import_scale`` makes
barriers in eV of it.
"""

from __future__ import annotations

import bz2
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.checkpoint import ModelError
from models.elements import N_FEATURES

_MOST_BYTES = 2**30
"""Of an unpacked checkpoint: twenty times the paper's network with its optimiser's state."""
_MOST_NUMBERS = 2**26
"""Of all arrays: a small file may claim large ones."""
_LARGEST = 1024
"""Rows or columns of an array; the paper's have 256."""
_SETTINGS: dict[str, Any] = {
    "atom_features": "cgcnn",
    "neighbor_strategy": "k-nearest",
    "cutoff": 8.0,
    "max_neighbors": 12,
    "use_canonize": False,
    "target_multiplication_factor": None,
    "standard_scalar_and_pca": False,
}
"""Of alignn's training runs, as the paper's scripts set them and our graphs are built."""


class _Ignored:
    """Stands for what is in a checkpoint beside the weights; made, never used."""

    def __init__(self, *_: object) -> None: ...


_UNREAD: list[Any] = [
    (_Ignored, name)
    for name in (
        "builtins.getattr",
        "__builtin__.getattr",
        "torch.optim.lr_scheduler.OneCycleLR",
    )
]
"""Names that the schedule's state holds as PyTorch 1 saved it. The reader takes the stand-in for
each, never what they name."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The arrays under ``model`` in a torch checkpoint, ``.pt`` or ``.pt.bz2``; nothing is run.

    Raises:
        ModelError: the file is missing, damaged, holds more than arrays, or is no such checkpoint.
    """
    content = _unpacked(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_UNREAD):
            # Of pickles in a newer protocol, which are either read or refused below.
            warnings.simplefilter("ignore")
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file brings about
        raise ModelError(
            f"{path}: not read as a checkpoint of arrays alone: {_why(error)}"
        ) from None
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not state:
        raise ModelError(f"{path}: no weights under 'model', expected a checkpoint as alignn saves")
    n_numbers = 0
    for name, value in state.items():
        if not isinstance(name, str) or not _is_array(value):
            raise ModelError(f"{path}: {str(name)[:60]!r} under 'model' is no array")
        n_numbers += value.numel()
        if n_numbers > _MOST_NUMBERS:
            raise ModelError(f"{path}: more than {_MOST_NUMBERS:,} weights, no ALIGNN network")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{path}: {name!r} holds numbers that are not finite")
    return state


def _why(error: Exception) -> str:
    """What the reader stumbled over, and what to do."""
    stranger = re.search(r"GLOBAL (\S+)", str(error))
    if stranger is None:
        return "it is damaged or no torch checkpoint; get it again from where it came"
    return (
        f"it holds {stranger[1][:80]}; if you trust it, save its weights apart: "
        "torch.save({'model': torch.load(FILE, weights_only=False)['model']}, 'weights.pt')"
    )


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _unpacked(path: Path) -> bytes:
    open_packed = bz2.open if path.suffix == ".bz2" else open
    try:
        with open_packed(path, "rb") as file:
            content: bytes = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise ModelError(
            f"{path}: {getattr(error, 'strerror', None) or error}; "
            "expected a checkpoint, .pt or .pt.bz2"
        ) from None
    if len(content) > _MOST_BYTES:
        raise ModelError(f"{path}: more than {_MOST_BYTES >> 20} MiB, no checkpoint of this kind")
    return content


def build_network(state: dict[str, Tensor], source: str) -> BarrierNetwork:
    """A network with these weights that gives its output in the scale it was trained in.

    Args:
        state: from ``read_checkpoint``.
        source: what messages call it.

    Raises:
        ModelError: names or shapes are not those of an ALIGNN network of one output.
    """
    layers = _head_layers(state, source)
    hidden = tuple(_rows_and_columns(state, f"{name}.weight", source)[0] for name in layers[:-1])
    config = BarrierConfig(
        trunk=_trunk_of(state, source),
        readout="mean",
        head=hidden,
        readout_activation=len(layers) > 1,
    )
    network = BarrierNetwork(config)
    wanted = network.state_dict()
    given = _renamed(state, layers, network)
    _check_names(wanted, given, source)
    for name in ("edge_embedding.0.centers", "angle_embedding.0.centers"):
        if not torch.allclose(given[f"trunk.{name}"].float(), wanted[f"trunk.{name}"], atol=1e-5):
            raise ModelError(f"{source}: {name!r} are other centres than ALIGNN's 0 to 8 Å, ±1")
    # The centres are kept as ours: the width of the Gaussians was derived from them.
    network.load_state_dict({**wanted, **{k: v.to(wanted[k].dtype) for k, v in given.items()}})
    return network.eval()


def _head_layers(state: dict[str, Tensor], source: str) -> list[str]:
    """Names of the linear layers after the readout."""
    multi = "conv_to_fc.0.weight" in state
    if multi and "fc.weight" in state:
        raise ModelError(
            f"{source}: joins two vectors (MODEL-1, 2 or 4 of arXiv 2508.06436); "
            "only MODEL-3 and plain ALIGNN networks can be imported"
        )
    if "conv_to_fc.1.weight" in state:
        n_outputs = sum(name.startswith("fc_out.") and name.endswith(".weight") for name in state)
        raise ModelError(
            f"{source}: predicts {n_outputs} properties, expected one, the migration barrier"
        )
    if not multi:
        return ["fc"]
    inner = sorted(
        (name.removesuffix(".weight") for name in state if _is_inner(name)),
        key=lambda name: int(name.rpartition(".")[2]),
    )
    return ["conv_to_fc.0", *inner, "fc_out.0"]


def _is_inner(name: str) -> bool:
    start, _, index = name.removesuffix(".weight").rpartition(".")
    return name.endswith(".weight") and start == "fc_hp.0" and index.isdigit()


def _trunk_of(state: dict[str, Tensor], source: str) -> TrunkConfig:
    """Sizes of the trunk from the shapes of its arrays."""
    width, atom_features = _rows_and_columns(state, "atom_embedding.layer.0.weight", source)
    if atom_features != N_FEATURES:
        raise ModelError(
            f"{source}: {atom_features} features of an atom, expected {N_FEATURES} (cgcnn)"
        )
    embedding, edge_bins = _rows_and_columns(state, "edge_embedding.1.layer.0.weight", source)
    _, triplet_bins = _rows_and_columns(state, "angle_embedding.1.layer.0.weight", source)
    return TrunkConfig(
        alignn_layers=_count(state, "alignn_layers."),
        gcn_layers=_count(state, "gcn_layers."),
        atom_features=atom_features,
        edge_bins=edge_bins,
        triplet_bins=triplet_bins,
        embedding=embedding,
        width=width,
    )


def _rows_and_columns(state: dict[str, Tensor], name: str, source: str) -> tuple[int, int]:
    value = state.get(name)
    if value is None or value.ndim != 2 or not 0 < max(value.shape) <= _LARGEST:
        found = "missing" if value is None else f"of shape {tuple(value.shape)}"
        raise ModelError(
            f"{source}: no ALIGNN network: {name!r} {found}, expected a matrix, "
            f"{_LARGEST} wide at most"
        )
    return value.shape[0], value.shape[1]


def _count(state: dict[str, Tensor], prefix: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(prefix)})


def _renamed(
    state: dict[str, Tensor], layers: list[str], network: BarrierNetwork
) -> dict[str, Tensor]:
    """The arrays under the names of our network."""
    linear = [index for index, part in enumerate(network.head) if isinstance(part, nn.Linear)]
    place = dict(zip(layers, linear, strict=True))
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        ours = f"head.{place[layer]}.{kind}" if layer in place else f"trunk.{name}"
        renamed[ours] = value
    return renamed


def _check_names(wanted: dict[str, Tensor], given: dict[str, Tensor], source: str) -> None:
    """The same names, but for the scale's, and the same shapes."""
    expected = {name for name in wanted if name.startswith(("trunk.", "head."))}
    problems = [f"{name!r} missing" for name in sorted(expected - set(given))]
    problems += [f"{name!r} unknown" for name in sorted(set(given) - expected)]
    problems += [
        f"{name!r} of shape {tuple(given[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in sorted(expected & set(given))
        if given[name].shape != wanted[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ModelError(f"{source}: no ALIGNN network of one output: {problems[0][:160]}{more}")


def check_training_config(path: Path) -> None:
    """Refuse the settings of a training run whose graphs or output are not as imported networks'.

    Args:
        path: the ``config.json`` that alignn wrote beside the checkpoint.

    Raises:
        ModelError: it cannot be read, or a setting is another one.
    """
    try:
        config = json.loads(path.read_bytes())
        model = config.get("model", {})
        found = {**{key: config.get(key) for key in _SETTINGS}, "link": model.get("link")}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: no config of a training run ({error})") from None
    for key, expected in {**_SETTINGS, "link": "identity"}.items():
        if found[key] not in (None, expected):
            raise ModelError(
                f"{path}: {key} is {found[key]!r}, networks are imported with {expected!r} only"
            )
