"""Materials rescored one after another in this process, or several at once by Ray's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Sequence

from jobs.inline import inline_device
from jobs.parallel import mapped
from jobs.session import ray_session
from jobs.settings import BATCH_COST, RunSettings
from jobs.stages import GraphPredictor
from screen.model_names import folder_of
from screen.rescored_material import Rescoring, StoredMaterial, rescore_material

RescoreAll = Callable[[Sequence[StoredMaterial]], Generator[Rescoring]]
"""What materials come to, in their order; lazy, to be closed before what gave it ends."""


@contextlib.contextmanager
def rescorer(model: str, num_cpus: int | None, num_gpus: float | None) -> Iterator[RescoreAll]:
    """What rescores materials by a model.

    Args:
        model: its name or folder.
        num_cpus: processes, of one thread each and without a GPU; None or 1 works here, on the GPU
            if there is one.
        num_gpus: 0 for a CPU also where there is a GPU.

    Raises:
        jobs.errors.EngineError: Ray cannot be started, or there are not so many CPUs.
        models.checkpoint.ModelError: the model is corrupt.
    """
    if num_cpus is None or num_cpus == 1:
        from models.predict import Predictor

        device = inline_device(RunSettings(model=model, engine="inline", num_gpus=num_gpus))
        predictor = Predictor.load(model, device=device)

        def one_by_one(materials: Sequence[StoredMaterial]) -> Generator[Rescoring]:
            for material in materials:
                yield rescore_material(material, predictor, BATCH_COST[device])

        yield one_by_one
        return
    # Workers do not run in this process's folder.
    work = functools.partial(_rescore, str(folder_of(model).resolve()))
    with ray_session(RunSettings(model=model, num_cpus=num_cpus, num_gpus=0)) as resources:

        def side_by_side(materials: Sequence[StoredMaterial]) -> Generator[Rescoring]:
            yield from mapped(work, materials, ahead=resources.cpus)

        yield side_by_side


def _rescore(folder: str, material: StoredMaterial) -> Rescoring:
    """Runs on a worker."""
    return rescore_material(material, _loaded(folder), BATCH_COST["cpu"])


@functools.lru_cache(maxsize=1)
def _loaded(folder: str) -> GraphPredictor:
    """The model of a worker, loaded by the first material it is given."""
    import torch

    from models.predict import Predictor

    predictor = Predictor.load(folder, device="cpu")
    torch.set_num_threads(1)  # more, in each of several processes, would wait for one another
    return predictor
