"""Which engine answers a search, and what the GPU's engines make of it, as far as that needs no GPU."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import faiss
import numpy as np
import pytest
import torch

import scvec as sv
from scvec import index as indexes
from scvec.cli import main
from scvec.core.device import SearchEngine
from scvec.core.types import Floats, Ints
from scvec.errors import InputError, MissingDependencyError
from scvec.index import Among, Exact, Stored, faiss_gpu, kinds, load
from scvec.index.engines import CPU, NAMES, Engine, Installed, Kind, Lack, by_cuvs, cagra, engine_for, installed, survey
from scvec.index.engines.cagra import Cagra
from scvec.index.engines.confirmed import Confirmed
from scvec.index.engines.opening import over
from scvec.index.torch_exact import TorchExact
from tests.parts import clustered, make, shared, truth

K, N = 15, 3000
VECTORS, QUERIES = clustered(N), clustered(40, seed=1)
IDS = np.sort(np.random.default_rng(0).permutation(10_000)[:N]).astype(np.int64)

EXACT, LISTS, BITS, LANCE = Kind("exact"), Kind("IVF64,SQ8", True), Kind("IVF64,RaBitQ"), Kind("lance:IVF_PQ")
FAISS_CPU = Lack("faiss-cpu is there", "swap it")
NO_TORCH, NO_CUVS, NO_CAGRA = Lack("no torch", "get torch"), Lack("no cuVS", "get cuVS"), Lack("no CAGRA", "get CAGRA")
BARE = Installed(torch=NO_TORCH, faiss_gpu=FAISS_CPU, faiss_cagra=NO_CAGRA, cuvs=NO_CUVS)
EXTRA = Installed(faiss_gpu=FAISS_CPU, faiss_cagra=NO_CAGRA, free_bytes=10**9)
"""What scvec[gpu] brings: torch and cuVS."""
SWAPPED = Installed(faiss_cagra=NO_CAGRA, free_bytes=10**9)
ALL = Installed(free_bytes=10**9)


@pytest.mark.parametrize(
    ("kind", "device", "here", "engine", "note"),
    [
        (EXACT, "cpu", ALL, "cpu", ""),
        (LISTS, "cpu", ALL, "cpu", ""),
        (EXACT, "cuda", ALL, "torch", ""),
        (EXACT, "cuda:1", EXTRA, "torch", ""),
        (EXACT, "cuda", BARE, "cpu", "exact search runs on the CPU: no torch (get torch)"),
        (LISTS, "cuda", ALL, "faiss-gpu", ""),
        (LISTS, "cuda", SWAPPED, "faiss-gpu", ""),
        (
            LISTS,
            "cuda",
            EXTRA,
            "torch",
            "all cells are compared on the GPU, exactly; the index IVF64,SQ8 is not used (faiss-cpu is there)",
        ),
        (
            LISTS,
            "cuda",
            BARE,
            "cpu",
            "the index IVF64,SQ8 is searched on the CPU: faiss-cpu is there (swap it); no torch (get torch)",
        ),
        (
            BITS,
            "cuda",
            SWAPPED,
            "torch",
            "all cells are compared on the GPU, exactly; the index IVF64,RaBitQ is not used "
            "(FAISS has no IVF64,RaBitQ for GPUs)",
        ),
        (
            dataclasses.replace(BITS, n_bytes=800_000_000),
            "cuda",
            SWAPPED,
            "cpu",
            "the index IVF64,RaBitQ is searched on the CPU: FAISS has no IVF64,RaBitQ for GPUs (use torch, or rebuild "
            "the atlas with an index such as IVF1024,SQ8); its vectors take 0.8 GB, and 0.8 GB are free on the GPU",
        ),
        (dataclasses.replace(BITS, n_bytes=750_000_000), "cuda", SWAPPED, "torch", None),
        (LANCE, "cuda", ALL, "cpu", None),
        (LANCE, "cpu", ALL, "cpu", ""),
    ],
)
def test_what_auto_takes(kind: Kind, device: str, here: Installed, engine: str, note: str | None) -> None:
    found = engine_for(kind, device, "auto", here)
    assert (found.name, found.device) == (engine, "cpu" if engine == "cpu" else device)
    if note is not None:
        assert found.note == note
    else:
        assert found.note


def test_an_index_that_is_measured_is_not_replaced() -> None:
    assert engine_for(LISTS, "cuda", "auto", ALL, as_index=True).name == "faiss-gpu"
    found = engine_for(LISTS, "cuda", "auto", EXTRA, as_index=True)
    assert found == Engine("cpu", "cpu", "the index IVF64,SQ8 is measured on the CPU: faiss-cpu is there (swap it)")


@pytest.mark.parametrize(
    ("name", "kind", "device", "here", "why"),
    [
        ("torch", EXACT, "cuda", BARE, "no torch"),
        ("torch", LANCE, "cuda", ALL, "Lance searches its index in the table"),
        ("faiss-gpu", EXACT, "cuda", ALL, "exact search has no FAISS index"),
        ("faiss-gpu", BITS, "cuda", ALL, "FAISS has no IVF64,RaBitQ for GPUs"),
        ("faiss-gpu", LISTS, "cuda", EXTRA, "faiss-cpu is there"),
        ("faiss-gpu", LISTS, "cpu", ALL, "it needs a GPU, and the search is on the CPU"),
        ("faiss-cagra", LISTS, "cuda", SWAPPED, "no CAGRA"),
        ("faiss-cagra", LISTS, "cuda", dataclasses.replace(ALL, faiss_gpu=FAISS_CPU), "faiss-cpu is there"),
        ("cuvs-brute-force", EXACT, "cuda", BARE, "no torch"),
        ("cuvs-brute-force", EXACT, "cpu", ALL, "it needs a GPU"),
        ("cuvs-cagra", LISTS, "cuda", dataclasses.replace(ALL, cuvs=NO_CUVS), "no cuVS"),
        ("cuvs-cagra", LANCE, "cuda", ALL, "Lance searches"),
    ],
)
def test_a_named_engine_that_cannot_search_is_refused_with_its_fix(
    name: SearchEngine, kind: Kind, device: str, here: Installed, why: str
) -> None:
    with pytest.raises(InputError, match=f"`search_engine` '{name}' cannot be used: ") as caught:
        engine_for(kind, device, name, here)
    assert why in caught.value.seen
    assert caught.value.fix


@pytest.mark.parametrize("name", [one for one in NAMES if one != "auto"])
def test_a_named_engine_is_taken_where_it_can_search(name: SearchEngine) -> None:
    assert engine_for(LISTS, "cuda:1", name, ALL) == Engine(name, "cpu" if name == "cpu" else "cuda:1")


def test_names() -> None:
    assert get_args(SearchEngine) == NAMES
    wrong: Any = "nonsense"
    with pytest.raises(InputError, match="`search_engine` must be one of auto, cpu, torch"):
        engine_for(EXACT, "cpu", wrong, ALL)
    assert engine_for(EXACT, "cpu", "auto", BARE) == CPU


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    root, parts = tmp_path_factory.mktemp("parts"), np.array_split(np.arange(N), 2)
    return {
        factory: make(root / str(number), factory, IDS, VECTORS, parts, "float16")
        for number, factory in enumerate(("exact", "IVF16,SQ8"))
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("factory", ["exact", "IVF16,SQ8"])
def test_without_a_gpu_auto_searches_on_the_cpu_and_says_why(factory: str, folders: dict[str, list[Path]]) -> None:
    index = indexes.open_parts(factory, folders[factory], {}, device="cuda")
    plain = indexes.open_parts(factory, folders[factory], {})
    (note,) = index.notes
    assert "on the CPU: " in note
    assert plain.notes == ()
    np.testing.assert_array_equal(index.candidates(QUERIES, K), plain.candidates(QUERIES, K))
    for name in NAMES[3:]:
        with pytest.raises(InputError, match=f"`search_engine` '{name}' cannot be used") as caught:
            indexes.open_parts(factory, folders[factory], {}, device="cuda", search_engine=name)
        assert caught.value.fix


def test_torch_compares_all_vectors_in_place_of_an_index(folders: dict[str, list[Path]]) -> None:
    index = indexes.open_parts("IVF16,SQ8", folders["IVF16,SQ8"], {"nprobe": 1}, search_engine="torch")
    found = indexes.search(index, QUERIES, K)
    expected = indexes.search(indexes.open_parts("exact", folders["exact"], {}), QUERIES, K)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("engine", ["torch", "faiss-gpu"])
def test_an_engine_that_fails_when_it_is_opened(
    engine: SearchEngine, folders: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that runs out, or wheels that do not fit: a note with auto, an error with a name."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    here = EXTRA if engine == "torch" else SWAPPED
    # Nothing lacks, as far as was looked, and there is no GPU nonetheless.
    monkeypatch.setattr(load, "installed", lambda _device: here)
    index = indexes.open_parts("IVF16,SQ8", folders["IVF16,SQ8"], {}, device="cuda")
    assert not isinstance(index, Exact)
    (note,) = index.notes
    assert note.startswith("the index IVF16,SQ8 is searched on the CPU: ")
    with pytest.raises(InputError, match=f"`search_engine` '{engine}' cannot be used"):
        indexes.open_parts("IVF16,SQ8", folders["IVF16,SQ8"], {}, device="cuda", search_engine=engine)


def test_a_broken_faiss_is_one_error(folders: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a wheel whose libraries are of another release; exact search goes on."""
    import sys

    monkeypatch.setitem(sys.modules, "scvec.index.kinds", None)
    monkeypatch.delattr(indexes, "kinds", raising=False)
    with pytest.raises(MissingDependencyError, match="an index IVF16,SQ8 needs FAISS"):
        indexes.open_parts("IVF16,SQ8", folders["IVF16,SQ8"], {})
    assert len(indexes.open_parts("exact", folders["exact"], {})) == N


def test_what_is_installed_here() -> None:
    assert installed("cpu").torch is None
    here = installed("cuda")
    assert (here.torch is None) is torch.cuda.is_available()
    if not hasattr(faiss, "StandardGpuResources"):
        assert here.faiss_gpu is not None
        assert "faiss-cpu" in here.faiss_gpu.why
        assert here.faiss_gpu.fix == "pip uninstall -y faiss-cpu && pip install faiss-gpu"
        assert here.faiss_cagra is not None
        assert "faiss-gpu-cuvs" in here.faiss_cagra.fix
    assert (here.cuvs is None) is (find_spec("cuvs") is not None)
    if here.cuvs is not None:
        assert here.cuvs.fix == "pip install 'scvec[gpu]'"
    with pytest.raises(InputError, match="`device` must be cpu, cuda"):
        installed("cpu:0")


def products(vectors: Floats) -> Any:
    """Return a search by float32 products with NumPy, in an order that is none, as another library has its own."""

    def greatest(queries: Floats, width: int, positions: Ints | None) -> tuple[Floats, Ints]:
        places = np.arange(len(vectors)) if positions is None else positions
        scores = queries @ vectors[places].T
        first = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        return np.take_along_axis(scores, first, 1), places[first]

    return greatest


def test_answers_of_other_libraries_are_confirmed() -> None:
    """With ties beyond the candidates that are kept: all answers are those of exact search."""
    rng = np.random.default_rng(3)
    vectors = np.concatenate([VECTORS[:300], np.repeat(VECTORS[:2], 90, axis=0)])
    vectors = vectors[rng.permutation(len(vectors))]
    ids = np.sort(rng.permutation(1000)[: len(vectors)]).astype(np.int64)
    queries = np.concatenate([QUERIES, VECTORS[:2]])
    index = Confirmed(Stored.of(ids, vectors), products(vectors))
    for among in (None, ids[::3], ids[:7]):
        for k in (1, 10, 500):
            found = index.candidates(queries, k, among)
            true, _ = truth(ids, vectors, queries, k, among)
            np.testing.assert_array_equal(found, true[:, : found.shape[1]])


def test_products_of_less_precision_are_found_out() -> None:
    """As those of TF32, with 10 bits: the queries are searched on the CPU."""
    whole = products(VECTORS)

    def rounded(queries: Floats, width: int, positions: Ints | None) -> tuple[Floats, Ints]:
        scores, places = whole((queries.view(np.uint32) & 0xFFFFE000).view(np.float32), width, positions)
        return scores, places

    stored = Stored.of(IDS, VECTORS)
    exactly = Exact(stored).candidates(QUERIES, K)
    np.testing.assert_array_equal(Confirmed(stored, rounded).candidates(QUERIES, K), exactly)
    asked: list[int] = []

    class Counting(Confirmed):
        def _better(self, queries: Floats, block: Ints, scores: Floats, best: Ints, far: Floats) -> None:
            asked.append(len(queries))
            super()._better(queries, block, scores, best, far)

    Counting(stored, whole).candidates(QUERIES, K)
    assert asked == []
    Counting(stored, rounded).candidates(QUERIES, K)
    assert asked == [len(QUERIES)]


class Walk:
    """A graph of FAISS's on the CPU, in the place of one on a GPU; `twice` gives each first answer again."""

    def __init__(self, vectors: Floats, filters: bool = True, twice: bool = False) -> None:
        self.filters, self._twice, self.efforts = filters, twice, list[int]()
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        self._index.add(vectors)

    def search(self, queries: Floats, k: int, effort: int, positions: Ints | None = None) -> Ints:
        """Return positions; 2^32 - 1 for none, as cuVS does."""
        self.efforts.append(effort)
        chosen = np.zeros(self._index.ntotal, bool)
        chosen[slice(None) if positions is None else positions] = True
        whole: Any = faiss
        params = whole.SearchParametersHNSW(
            efSearch=effort, sel=whole.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
        )
        _, found = self._index.search(queries, k, params=params)
        found = np.where(found < 0, 2**32 - 1, found)
        if self._twice:
            found[:, -1] = found[:, 0]
        return np.asarray(found, np.int64)


def test_a_graph_proposes() -> None:
    stored = Stored([(IDS[some], VECTORS[some]) for some in np.array_split(np.arange(N), 3)])
    graph = Walk(VECTORS)
    index = Cagra(stored, graph)
    true, _ = truth(IDS, VECTORS, QUERIES, K)
    found = indexes.search(index, QUERIES, K)
    assert shared(found.ids, true) > 0.99
    assert graph.efforts == [128]
    assert set(index.using({"efSearch": 300, "nprobe": 3}).parameters) == {"overfetch", "efSearch"}
    index.using({"efSearch": 300}).candidates(QUERIES, K)
    index.using({"efSearch": 9999}).candidates(QUERIES, K)
    assert graph.efforts[1:] == [320, cagra.MOST_EFFORT]
    rows = IDS[::2]
    near, _ = truth(IDS, VECTORS, QUERIES, K, rows)
    assert shared(index.candidates(QUERIES, K, rows), near) > 0.9
    assert np.isin(index.candidates(QUERIES, K, rows), [*rows, -1]).all()
    assert index.candidates(QUERIES[:0], K).shape == (0, K)
    assert index.candidates(QUERIES, K, IDS[:0]).shape == (len(QUERIES), 0)
    assert len(graph.efforts) == 5  # no graph is asked for no neighbours
    # More than a graph keeps: all cells are compared.
    many, _ = truth(IDS, VECTORS, QUERIES[:3], 600)
    np.testing.assert_array_equal(index.candidates(QUERIES[:3], 600), many)
    assert len(graph.efforts) == 5


def test_a_cell_that_a_graph_finds_twice_votes_once() -> None:
    index = Cagra(Stored.of(IDS, VECTORS), Walk(VECTORS, twice=True))
    found = index.candidates(QUERIES, K)
    for row in found.tolist():
        kept = [one for one in row if one >= 0]
        assert len(kept) == K - 1 == len(set(kept))


def test_a_graph_without_filters_is_narrowed() -> None:
    index = Cagra(Stored.of(IDS, VECTORS), Walk(VECTORS, filters=False))
    for rows in (IDS[::2], np.setdiff1d(IDS, IDS[::40])):
        true, _ = truth(IDS, VECTORS, QUERIES, K, rows)
        assert shared(Among(index, rows).candidates(QUERIES, K), true) > 0.9


@pytest.mark.parametrize(("n", "positions"), [(64, [0, 31, 32, 63]), (70, [69]), (1, [0]), (33, [])])
def test_a_filter_in_bits(n: int, positions: list[int]) -> None:
    words = by_cuvs.bits(np.array(positions, np.int64), n)
    assert words.dtype == np.uint32
    assert len(words) == -(-n // 32)
    assert [i for i in range(n) if words[i // 32] >> (i % 32) & 1] == positions


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_vectors_are_moved_block_by_block(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_cuvs, "BLOCK", 700)
    vectors = VECTORS.astype(dtype)
    stored = Stored([(IDS[some], vectors[some]) for some in np.array_split(np.arange(N), 3)])
    for wanted in (torch.float16, torch.float32):
        moved = by_cuvs.on_device(stored, "cpu", wanted)
        assert moved.dtype == wanted
        np.testing.assert_array_equal(moved.numpy(), vectors.astype(moved.numpy().dtype))


@pytest.mark.skipif(not faiss_gpu.knows_gpus(), reason="this FAISS has no code for GPUs")
def test_faiss_takes_the_options_that_are_given() -> None:
    one, two = faiss_gpu.cloner_options([0]), faiss_gpu.cloner_options([0, 1])
    assert (one.useFloat16, one.shard, two.useFloat16, two.shard) == (False, False, True, True)
    gpu: Any = faiss
    for name in ("Flat", "IVFFlat", "IVFScalarQuantizer", "IVFPQ", *(["Cagra"] if faiss_gpu.has_cagra() else [])):
        config = getattr(gpu, f"GpuIndex{name}Config")()
        config.device = 1
        assert config.device == 1


@pytest.mark.skipif(
    not faiss_gpu.knows_gpus() or faiss.get_num_gpus() > 0, reason="this FAISS has no code for GPUs, or there is one"
)
@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "IVF16,SQ8", "IVF16,PQ16", "PCA16,IVF16,Flat"])
def test_a_copy_to_a_gpu_that_is_not_there(factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAISS itself refuses, and the index is searched on the CPU."""
    monkeypatch.setattr(faiss_gpu, "lacking", lambda _device: "")
    index = kinds.trained(factory, VECTORS, 0)
    copies, (note,) = faiss_gpu.cloned(factory, [(0, index)], "cuda:0")
    assert copies == []
    assert note.startswith(f"the index {factory} cannot be copied to the GPU (")
    assert "GPU" in note.partition("(")[2]


@pytest.mark.skipif(not faiss_gpu.has_cagra() or faiss.get_num_gpus() > 0, reason="this FAISS has no CAGRA, or a GPU")
def test_cagra_of_faiss_without_a_gpu() -> None:
    found = over(Stored.of(IDS, VECTORS), Engine("faiss-cagra", "cuda"))
    assert isinstance(found, Lack)
    whole: Any = faiss
    params = whole.SearchParametersCagra()
    params.itopk_size = cagra.MOST_EFFORT
    assert params.itopk_size == cagra.MOST_EFFORT


@pytest.mark.skipif(find_spec("cuvs") is None, reason="cuVS is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("engine", ["cuvs-brute-force", "cuvs-cagra"])
def test_cuvs_without_a_gpu(engine: SearchEngine) -> None:
    assert isinstance(over(Stored.of(IDS, VECTORS), Engine(engine, "cuda")), Lack)


@pytest.mark.skipif(find_spec("cuvs") is None, reason="cuVS is not installed")
def test_cuvs_takes_the_options_that_are_given() -> None:
    from cuvs.common.exceptions import CuvsException
    from cuvs.distance import DISTANCE_TYPES
    from cuvs.neighbors import brute_force
    from cuvs.neighbors import cagra as graphs

    assert by_cuvs.METRIC in DISTANCE_TYPES
    assert graphs.IndexParams(metric=by_cuvs.METRIC).metric == by_cuvs.METRIC
    assert graphs.SearchParams(itopk_size=cagra.MOST_EFFORT).itopk_size == cagra.MOST_EFFORT
    if not torch.cuda.is_available():
        with pytest.raises(CuvsException):
            brute_force.build(VECTORS, metric=by_cuvs.METRIC)


@pytest.mark.gpu
@pytest.mark.skipif(find_spec("cuvs") is None, reason="cuVS is not installed")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("engine", ["cuvs-brute-force", "cuvs-cagra"])
def test_cuvs_on_a_gpu(engine: SearchEngine, dtype: Any, tmp_path: Path) -> None:
    stored = {np.float16: "float16", np.float32: "float32"}[dtype]
    parts = make(tmp_path, "exact", IDS, VECTORS, np.array_split(np.arange(N), 2), stored)  # type: ignore[arg-type]
    index = indexes.open_parts("exact", parts, {}, device="cuda", search_engine=engine)
    plain = indexes.open_parts("exact", parts, {})
    for among in (None, IDS[::2]):
        found, expected = index.candidates(QUERIES, K, among), plain.candidates(QUERIES, K, among)
        if engine == "cuvs-brute-force":
            np.testing.assert_array_equal(found, expected)
        else:
            assert shared(found, expected) > 0.9


@pytest.mark.gpu
@pytest.mark.skipif(not hasattr(faiss, "GpuIndexCagra"), reason="this FAISS has no CAGRA")
def test_cagra_of_faiss_on_a_gpu(folders: dict[str, list[Path]]) -> None:
    index = indexes.open_parts("exact", folders["exact"], {}, device="cuda", search_engine="faiss-cagra")
    plain = indexes.open_parts("exact", folders["exact"], {})
    assert shared(index.candidates(QUERIES, K), plain.candidates(QUERIES, K)) > 0.9


def test_the_survey_names_what_lacks_and_how_to_get_it() -> None:
    found = survey.survey()
    assert [one.name for one in found.engines] == list(NAMES[1:])
    for one in found.engines:
        assert one.runs <= one.installed
        assert bool(one.why) is not one.runs
        assert bool(one.fix) is not one.installed
    assert [one.index for one in found.indexes] == list(survey.KINDS)
    assert found.torch == torch.__version__
    assert found.torch_cuda == torch.version.cuda
    if not torch.cuda.is_available():
        assert {one.here for one in found.indexes} == {"cpu"}
        assert found.gpus == ()
    if not hasattr(faiss, "StandardGpuResources"):
        assert {one.index: one.with_gpu for one in found.indexes} == {
            one: "cpu" if "lance" in one else "torch" for one in survey.KINDS
        }


def test_the_survey_of_two_wheels_of_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They overwrite each other's files: found by the folders that pip leaves."""
    there = tmp_path / "faiss_other-9.9.dist-info"
    there.mkdir()
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: faiss-other\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = survey.survey()
    assert found.faiss["faiss-other"] == "9.9"
    assert any("share the import name faiss" in note for note in found.notes)


def test_models_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--devices", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in values["engines"]] == list(NAMES[1:])
    assert main(["models", "--devices"]) == 0
    plain = capsys.readouterr().out
    assert all(one["name"] in plain for one in values["engines"])
    assert all(one in plain for one in survey.KINDS)
    assert "minilm" not in plain


def test_a_query_by_an_engine(store: sv.Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same calls, whichever engine; one that cannot be used is one line."""
    out = tmp_path / "calls.csv"
    query = ["query", str(files / "query.h5ad"), "--atlas", "toy", "--store", store.uri, "--out", str(out)]
    answers = []
    for name in ("auto", "cpu", "torch"):
        assert main([*query, "--search-engine", name]) == 0
        answers.append(out.read_text())
        out.unlink()
    capsys.readouterr()
    assert len(set(answers)) == 1
    for name in NAMES[3:]:
        if torch.cuda.is_available():
            break
        assert main([*query, "--search-engine", name]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"scvec: --search-engine '{name}' cannot be used: ")
        assert "Fix: " in line
        assert not out.exists()
    if not torch.cuda.is_available():
        assert main([*query, "--device", "cuda"]) == 0
        notes = [one for one in capsys.readouterr().err.splitlines() if "CPU" in one]
        assert notes == ["torch finds no usable GPU: computing on the CPU"]


def test_an_atlas_knows_its_engine(store: sv.Store) -> None:
    atlas = sv.atlas.open_atlas(store, "toy", search_engine="torch")
    assert atlas.search_engine == "torch"
    assert isinstance(atlas.index, TorchExact)
    wrong: Any = "gpu"
    with pytest.raises(InputError, match="`search_engine` must be one of"):
        sv.atlas.open_atlas(store, "toy", search_engine=wrong)
