import pytest
import torch

from models.alignn import TrunkConfig
from tests.bench import gpu
from tests.bench.__main__ import measure
from tests.models.triton_cases import some_bands


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_is_said_in_one_line() -> None:
    (figure,) = measure("gpu")
    assert figure.value is None
    assert "no GPU" in figure.note


def test_measures_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code on a CPU: it has to run where a GPU is for the first time."""
    monkeypatch.setenv("IONSCREEN_DATA", "nowhere")
    monkeypatch.setattr(gpu, "TILES", gpu.TILES[:1])
    monkeypatch.setattr(gpu, "all_bands", some_bands)
    config = TrunkConfig(1, 1, width=16, embedding=8)
    figures = gpu.measured(torch.device("cpu"), n_bands=3, repeats=1, config=config)
    rates = {figure.what: figure.value or 0 for figure in figures}
    assert len(rates) == len(figures) == 2 + len(gpu.ARITHMETICS) + 2
    assert all(rate > 0 for rate in rates.values())
    assert "log(Em) off by" in figures[1].note
