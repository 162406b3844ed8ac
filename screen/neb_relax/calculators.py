"""Calculators by name or by where they are imported from, and how each is recorded."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from screen.errors import FAILED, UserError


@dataclass(frozen=True)
class _Known:
    """A potential with a name of its own."""

    package: str
    """What is imported."""
    distribution: str
    install: str
    weights_argument: str
    weights: str
    """Where none are asked for."""


_KNOWN = {
    "chgnet": _Known("chgnet", "chgnet", "'ionscreen[mlip]'", "model_name", "0.3.0"),
    "mace": _Known("mace", "mace-torch", "mace-torch", "model", "medium-mpa-0"),
    "matgl": _Known("matgl", "matgl", "matgl", "model", "TensorNet-MatPES-PBE-v2025.1-PES"),
}


@dataclass(frozen=True)
class CalculatorChoice:
    """Which calculator, and what it is given; travels to the workers."""

    name: str
    """``chgnet``, ``mace``, ``matgl``, or ``package.module:Class``, or a function's name there."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    """Searched last for modules of the user's own; empty: not at all."""

    @property
    def label(self) -> str:
        """What barriers name it: with its weights where those are known."""
        known = _KNOWN.get(self.name)
        if known is None:
            return self.name
        return f"{self.name}-{self.arguments.get(known.weights_argument, known.weights)}"

    def record(self) -> dict[str, Any]:
        """What is kept of it with each band."""
        known = _KNOWN.get(self.name)
        distribution = known.distribution if known else self.name.partition(":")[0].split(".")[0]
        version = None
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = f"{distribution} {metadata.version(distribution)}"
        arguments = json.loads(json.dumps(dict(self.arguments)))
        return {"calculator": self.label, "arguments": arguments, "calculator_package": version}

    def check(self) -> None:
        """Refuse a calculator that cannot be had, before any worker is started for it.

        Raises:
            UserError: not installed, or there is no such place.
        """
        if importlib.util.find_spec("ase") is None:
            raise UserError(
                "ase is not installed; pip install 'ionscreen[mlip]' and run again", FAILED
            )
        known = _KNOWN.get(self.name)
        if known is None:
            self._found()
        elif importlib.util.find_spec(known.package) is None:
            raise UserError(
                f"--calculator {self.name}: not installed; pip install {known.install} "
                "and run again",
                FAILED,
            )

    def load(self, device: str) -> Any:
        """The calculator.

        Args:
            device: cpu or cuda; what is imported by its place decides itself.

        Raises:
            UserError: it cannot be made, with its reason in one line.
        """
        makers: dict[str, Callable[..., Any]] = {"chgnet": _chgnet, "mace": _mace, "matgl": _matgl}
        maker = makers.get(self.name)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some greet on what is for results
                if maker is None:
                    return self._found()(**self.arguments)
                known = _KNOWN[self.name]
                return maker(device, **{known.weights_argument: known.weights, **self.arguments})
        except UserError:
            raise
        except Exception as error:
            what = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"--calculator {self.name}: cannot be made ({what})", FAILED) from error

    def _found(self) -> Any:
        """What stands at an import path."""
        module, _, attribute = self.name.partition(":")
        expected = f"expected {', '.join(_KNOWN)} or package.module:Class"
        if not attribute or not all(part.isidentifier() for part in module.split(".")):
            raise UserError(f"--calculator {self.name}: {expected}")
        try:
            with _also_from(self.folder):
                return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UserError(f"--calculator {self.name}: {error}; {expected}") from None


@contextlib.contextmanager
def _also_from(folder: str) -> Iterator[None]:
    """Modules of this folder can be imported, those of the same name elsewhere come first."""
    if folder:
        sys.path.append(folder)
    try:
        yield
    finally:
        if folder:
            sys.path.remove(folder)


def _chgnet(device: str, model_name: str) -> Any:
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    model = CHGNet.load(model_name=model_name, use_device=device, verbose=False)
    calculator: Any = CHGNetCalculator(model, use_device=device)
    # Stress and magnetic moments would take half as long again.
    calculator.calculate = functools.partial(calculator.calculate, task="ef")
    return calculator


def _mace(device: str, **arguments: Any) -> Any:
    maker = importlib.import_module("mace.calculators").mace_mp
    # Relaxations to 0.05 eV/Å want more than single precision.
    return maker(**{"device": device, "default_dtype": "float64", **arguments})


def _matgl(device: str, model: str, **arguments: Any) -> Any:
    potential = importlib.import_module("matgl").load_model(model).to(device)
    return importlib.import_module("matgl.ext.ase").PESCalculator(potential, **arguments)
