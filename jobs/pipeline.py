"""The one door to a run: candidates in, finished materials out, on the engine asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jobs.records import Candidate, Failure, MaterialResult, Progress
from jobs.settings import RunSettings
from jobs.sink import Sink
from jobs.stages import PredictorFactory


def run(
    candidates: Iterable[Candidate | Failure],
    write: Callable[[list[MaterialResult]], None],
    settings: RunSettings,
    progress: Callable[[Progress], None] | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> Progress:
    """Screen candidates and hand every finished material to ``write``, in no fixed order.

    A material is handed over once all its hops have come back, with whatever failed among them, so
    a store that commits each call wholly holds every material wholly or not at all; what is not in
    it can be asked for again. ``write`` and ``progress`` are called in this process and thread.

    Args:
        candidates: Pulled in a thread in the background, a few hundred ahead of the work at most,
            so that a slow source holds up nothing. Ray starts meanwhile in another working folder:
            relative paths should be resolved before. A ``Failure`` of the source passes straight
            through as a ``MaterialResult`` without candidate.
        write: Takes 1 to 1,024 materials, 64 where it is quick; called at least every two seconds
            while any are finished.
            If interrupted it may be given the same ones again.
        settings: What to do and on which machines.
        progress: Called with the counters a few times per second, and at the end.
        predictor_factory: Makes the predictor (``graph_settings`` and ``predict``) in each worker;
            picklable. None loads ``settings.model`` on each worker's device.

    Raises:
        EngineError: Ray cannot be started or reached, its head stays away, a machine has other
            versions, or workers die or hang one after another.
        models.checkpoint.ModelError: ``settings.model`` is unknown or unreadable.
        KeyboardInterrupt: passed on once the finished materials are written. A source that is busy
            then is left behind in its thread.
        Exception: whatever ``write`` raises, once the workers are stopped, or ``candidates``, once
            all that came before has been finished and written too.
    """
    if predictor_factory is None:
        from models.checkpoint import find_model

        find_model(settings.model)  # a wrong name should not first start a cluster
    sink = Sink(write, progress)
    if settings.engine == "inline":
        from jobs.inline import run_inline

        run_inline(candidates, sink, settings, predictor_factory)
    else:
        from jobs.ray_engine import run_ray

        run_ray(candidates, sink, settings, predictor_factory)
    return sink.progress
