"""The compiled kernel against PyTorch, for every instruction set here; and without it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch

from models import fused, fused_library
from models.batch import GraphBatch, collate
from models.fused import Kernel
from models.fused_products import has_matrix_units, on_units
from models.inference import InferenceTrunk
from models.inference_fold import Convolution, fold_convolutions
from models.inference_rows import Located, convolve
from models.inference_table import CosineTable, tabulate
from tests.models.test_inference import TrunkConfig, bonded, trunk

SOURCES = sorted(Path(fused.__file__).parent.glob("fused*.c"))
WIDTH = 48


def build(folder: Path, *sources: Path) -> Path:
    """The library as an installation builds it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / f"_fused{EXTENSION_SUFFIXES[0]}"
    subprocess.run(
        [compiler, "-O3", "-fopenmp-simd", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
         "-o", str(library), *map(str, sources)], check=True,
    )  # fmt: skip
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    found = fused_library.load(build(tmp_path_factory.mktemp("library"), *SOURCES))
    assert found is not None
    return found


@pytest.fixture(scope="module", params=range(len(fused.LEVELS)), ids=fused.LEVELS)
def kernel(request: pytest.FixtureRequest, library: ctypes.CDLL) -> Kernel:
    found = Kernel(library)
    if request.param > found.level:
        pytest.skip(f"this processor has no {fused.LEVELS[request.param]}")
    found.level = request.param
    return found


@pytest.fixture(scope="module")
def batch() -> GraphBatch:
    """Every degree from 1 to 26, and atoms without bonds."""
    return collate([bonded(degree, degree % 3) for degree in range(1, 27)])


@pytest.fixture(scope="module")
def folded() -> Convolution:
    one = trunk(TrunkConfig(1, 1, width=WIDTH, embedding=8))
    return fold_convolutions([one.alignn_layers[0].node_update]).to(torch.float32)  # type: ignore[union-attr]


def random(rows: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(rows))


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=3e-6 * scale, rtol=0)


@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize("of", ["edges", "triplets"])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_a_convolution_is_pytorchs(
    kernel: Kernel, batch: GraphBatch, folded: Convolution, of: str, needed: bool, scale: float
) -> None:
    """Also where gates are shut or open to the last bit."""
    layout = batch.edges if of == "edges" else batch.triplets
    n_nodes = batch.edges.n_nodes if of == "edges" else len(batch.vector)
    n_rows = len(batch.vector) if of == "edges" else len(batch.cosines)
    nodes, rows = random(n_nodes), random(n_rows, scale)
    mine, theirs = rows.clone(), rows.clone()
    found = kernel(folded, layout, nodes, mine, rows_needed=needed)
    assert_same(found, convolve(folded, layout, nodes, theirs, rows_needed=needed))
    assert_same(mine, theirs)
    assert torch.equal(mine, rows) != needed


@pytest.mark.parametrize("needed", [True, False])
def test_rows_of_a_table_are_pytorchs(
    kernel: Kernel, batch: GraphBatch, folded: Convolution, needed: bool
) -> None:
    waves = torch.arange(2 * WIDTH if needed else WIDTH) / 10
    table = tabulate(lambda cosine: torch.cos(cosine.unsqueeze(1) * waves), 1e-6, torch.float32)
    assert isinstance(table, CosineTable)
    located = Located(table, *table.locate(batch.cosines))
    nodes = random(len(batch.vector))
    mine, theirs = (torch.zeros(len(batch.cosines), WIDTH) for _ in range(2))
    found, expected = (
        way(folded, batch.triplets, nodes, rows, rows_needed=needed, located=located)
        for way, rows in ((kernel, mine), (convolve, theirs))
    )
    assert_same(found, expected)
    assert_same(mine, theirs)


def test_what_is_no_number_stays_so(kernel: Kernel, batch: GraphBatch, folded: Convolution) -> None:
    nodes, rows = random(len(batch.vector)), random(len(batch.cosines))
    rows[5] = torch.nan
    found = kernel(folded, batch.triplets, nodes, rows, rows_needed=True)
    assert found.isnan().any(dim=1).sum() == 1
    assert rows.isnan().any(dim=1).sum() == 1


def test_gates_are_exact_to_round_off(kernel: Kernel, folded: Convolution) -> None:
    """One bond into each of two atoms: a sum of one gate over itself, and SiLU of what it says."""
    batch = collate([bonded(1)])
    logits = torch.linspace(-30.0, 30.0, 2 * WIDTH).view(2, WIDTH)
    none = torch.zeros(2, WIDTH)
    quiet = Convolution(
        lambda rows, out=None: logits if out is None else out.copy_(logits),  # type: ignore[arg-type]
        lambda nodes: torch.cat([none, none, none + 1.0, none], dim=1),  # type: ignore[arg-type]
        torch.ones(WIDTH),
        torch.zeros(WIDTH),
    )
    rows = none.clone()
    kernel(quiet, batch.edges, none, rows, rows_needed=True)
    exact = logits.double() * torch.sigmoid(logits.double())
    assert float(((rows.double() - exact) / exact.abs().clamp_min(1e-30)).abs().max()) < 5e-7


def test_trunk_does_without_the_library(monkeypatch: pytest.MonkeyPatch, batch: GraphBatch) -> None:
    """As after an installation without a compiler."""
    one = trunk(TrunkConfig(2, 2, width=WIDTH, embedding=8))
    monkeypatch.setattr(fused_library, "EXTENSION_SUFFIXES", [".nowhere"])
    fused_library.library.cache_clear()
    has_matrix_units.cache_clear()
    try:
        inference = InferenceTrunk([one])
        assert inference.convolve is convolve
        with torch.inference_mode():
            torch.testing.assert_close(inference(batch), one(batch), atol=2e-5, rtol=2e-5)
    finally:
        fused_library.library.cache_clear()
        has_matrix_units.cache_clear()


def test_trunk_runs_on_the_library(kernel: Kernel, batch: GraphBatch) -> None:
    one = trunk(TrunkConfig(2, 2, width=WIDTH, embedding=8))
    inference = InferenceTrunk([one])
    inference.convolve = kernel
    assert str(kernel) == f"compiled kernel ({fused.LEVELS[kernel.level]})"
    with torch.inference_mode():
        torch.testing.assert_close(inference(batch), one(batch), atol=2e-5, rtol=2e-5)


def test_other_libraries_are_not_used(tmp_path: Path) -> None:
    """One built before an update of the sources, one of something else, a broken file."""
    older = tmp_path / "older.c"
    models = Path(fused.__file__).parent
    shutil.copy(models / "fused.h", tmp_path)
    text = (models / "fused.c").read_text()
    version = "ionscreen_version(void) { return "
    assert text.count(version) == 1
    older.write_text(text.replace(version, version + "1000 + "))
    stranger = tmp_path / "stranger.c"
    stranger.write_text("int stranger(void) { return 1; }\n")
    for source in (older, stranger):
        assert fused_library.load(build(tmp_path, source)) is None
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    assert fused_library.load(broken) is None


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 200])
@pytest.mark.parametrize(("parts", "error"), [(1, 4e-3), (2, 1e-5)])
def test_matrix_units_multiply(rows: int, parts: int, error: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(n, 96, generator=generator) for n in (64, 1))
    product = on_units(weight, parts)
    if product is None:
        pytest.skip("no matrix units, or no library")
    x = torch.randn(rows, 64, generator=generator)
    exact = x.double() @ weight.double()
    with_bias = product(x, bias[0], None)
    assert float((with_bias - exact - bias).norm() / exact.norm()) < error
    into = torch.full((rows + 1, 96), -7.0)
    product(x, None, into[:rows])
    assert float((into[:rows] - exact).norm() / exact.norm()) < error
    assert (into[rows] == -7.0).all()
    x[0, 3] = torch.nan
    assert product(x, None, None).isnan().any(dim=1).tolist() == [True] + [False] * (rows - 1)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (512, 64)])
def test_matrices_that_units_do_not_take(shape: tuple[int, int]) -> None:
    assert on_units(torch.zeros(shape), 2) is None


def test_threads_do_the_same(kernel: Kernel, batch: GraphBatch, folded: Convolution) -> None:
    nodes, rows = random(len(batch.vector)), random(len(batch.cosines))
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            mine = rows.clone()
            found.append((kernel(folded, batch.triplets, nodes, mine, rows_needed=True), mine))
    finally:
        torch.set_num_threads(before)
    assert_same(found[0][0], found[1][0])
    assert_same(found[0][1], found[1][1])


@pytest.mark.parametrize(("width", "taken"), [(16, True), (320, True), (24, False), (4096, False)])
def test_widths(width: int, taken: bool) -> None:
    assert Kernel.takes(width) == taken
