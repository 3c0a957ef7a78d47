"""Encoders of gene texts: the contract all keep, the registry, and BERTs against a direct computation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.embed import encoders
from scvec.embed.encoders import Address, Partial, make, text_models
from scvec.embed.encoders.registry import BUILT_IN
from scvec.embed.encoders.simple import Random, Tfidf
from scvec.errors import FileError, GeneMatchError, InputError, KeyNotFoundError, MissingDependencyError, ServiceError
from scvec.ingest.genes.template import with_texts

SYMBOLS = ["INS", "GCG", "KRT19", "VIM"]
TEXTS = [
    "INS: insulin. A hormone that lowers blood glucose.",
    "GCG: glucagon. A hormone that raises blood glucose.",
    "KRT19: keratin 19. An intermediate filament of epithelial ducts.",
    "VIM: vimentin. An intermediate filament of mesenchymal cells.",
]


def genes_of(texts: list[str]) -> pl.DataFrame:
    """Return rows of gene_texts with these texts."""
    ids = [SYMBOLS.index(text.split(":")[0]) + 1 for text in texts]
    rows = {
        "taxon_id": [9606] * len(texts),
        "gene_id": ids,
        "symbol": [text.split(":")[0] for text in texts],
        "aliases": [[f"OLD{i}"] for i in ids],
        "ensembl_ids": [[f"ENSG{i:011d}"] for i in ids],
        "gene_type": ["protein-coding"] * len(texts),
        "full_name": ["some gene"] * len(texts),
    }
    return with_texts(pl.DataFrame(rows)).with_columns(pl.Series("text", texts))


GENES = genes_of(TEXTS)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real BERT, small and untrained, saved as the large ones are."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    letters = [chr(one) for one in range(ord("a"), ord("z") + 1)] + list("0123456789:.,")
    words = sorted({word.strip(".:,").lower() for text in TEXTS for word in text.split()} - set(letters))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), *words]
    folder.mkdir()
    BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def hub(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face cache that has the small BERT under the names of BioBERT and SciBERT."""
    folder = tmp_path_factory.mktemp("hub")
    for name in (text_models.BIOBERT, text_models.SCIBERT):
        model = folder / f"models--{name.replace('/', '--')}"
        (model / "refs").mkdir(parents=True)
        (model / "refs" / "main").write_text("abc")
        shutil.copytree(bert, model / "snapshots" / "abc")
    return folder


@pytest.fixture
def vectors_file(tmp_path: Path) -> Path:
    vectors = np.random.default_rng(0).standard_normal((4, 16))
    np.savez(tmp_path / "given.npz", names=np.array(["INS", "OLD2", "ENSG00000000003.5", "4"]), vectors=vectors)
    return tmp_path / "given.npz"


WORDS = ["ins", "insulin", "hormone", "glucagon", "Keratin", "keratin", "a"]
WORD_VECTORS = np.random.default_rng(1).standard_normal((7, 5)).astype(np.float32)


@pytest.fixture
def words_file(tmp_path: Path) -> Path:
    """Vectors of words, as GloVe's are published."""
    rows = [" ".join([word, *map(str, row)]) for word, row in zip(WORDS, WORD_VECTORS.tolist(), strict=True)]
    (tmp_path / "words.txt").write_text("\n".join(rows) + "\n")
    return tmp_path / "words.txt"


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """A small model as Model2Vec saves it: four tokens that share two rows of 8-bit numbers, and an unknown one."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "pieces"
    folder.mkdir()
    vocabulary = {"[UNK]": 0, "insulin": 1, "hormone": 2, "glucagon": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=12)  # as some are saved, with padding that is no part of a text
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    arrays = {
        "embeddings": np.array([[3, 4], [0, -5]], np.int8),
        "mapping": np.array([1, 0, 1, 1]),
        "weights": np.array([9, 1, 2, 3], np.float32),
    }
    save_file(arrays, folder / "model.safetensors")
    return folder


@pytest.fixture
def names(bert: Path, vectors_file: Path, words_file: Path, pieces: Path) -> dict[str, str]:
    return {
        "tfidf": "tfidf",
        "hash": "hash",
        "random": "random",
        "minilm": "minilm",
        "bert": f"bert:{bert}",
        "bert cls": f"bert:{bert}?pooling=cls",
        "st": f"st:{bert}",
        "file": f"file:{vectors_file}",
        "words": f"static:{words_file}",
        "pieces": f"static:{pieces}",
    }


@pytest.mark.parametrize(
    "which", ["tfidf", "hash", "random", "minilm", "bert", "bert cls", "st", "file", "words", "pieces"]
)
def test_every_encoder_keeps_the_contract(which: str, names: dict[str, str]) -> None:
    encoder = make(names[which], GENES)
    again = make(names[which], GENES.reverse())
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert again.revision == encoder.revision
    assert again.name == encoder.name == Address.parse(names[which]).canonical()
    # A text's vector is its own: neither its neighbours nor the order matter.
    np.testing.assert_allclose(again.encode(TEXTS[::-1])[::-1], vectors, atol=2e-6)
    np.testing.assert_allclose(encoder.encode(TEXTS[:1]), vectors[:1], atol=2e-6)


def unit(*rows: Any) -> Any:
    mean = np.mean(rows, axis=0)
    return mean / np.linalg.norm(mean)


def test_a_text_is_the_mean_of_its_words(words_file: Path) -> None:
    encoder = make(f"static:{words_file}", GENES)
    assert (encoder.name, encoder.dimension) == ("static:words.txt", 5)
    found = encoder.encode(["INS: insulin, a hormone of no other insulin", "Keratin", "KERATIN", "nothing known"])
    ins, insulin, hormone, _, cased, plain, a = WORD_VECTORS
    np.testing.assert_allclose(found[0], unit(ins, insulin, a, hormone, insulin), atol=1e-6)
    np.testing.assert_allclose(found[1:3], [unit(cased), unit(plain)], atol=1e-6)
    assert not found[3].any()


def test_a_text_is_the_mean_of_its_tokens(pieces: Path) -> None:
    """As Model2Vec defines it: mapped rows times weights, without the unknown token; every token of a long text."""
    found = make(f"static:{pieces}", GENES).encode(
        ["insulin hormone", "hormone of glucagon", "insulin " * 9 + "hormone"]
    )
    insulin, hormone, glucagon = np.array([3, 4]), 2 * np.array([0, -5]), 3 * np.array([0, -5])
    expected = [unit(insulin, hormone), unit(hormone, glucagon), unit(*[insulin] * 9, hormone)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_vectors_are_the_revision(words_file: Path, pieces: Path) -> None:
    for path, part in ((words_file, words_file), (pieces, pieces / "model.safetensors")):
        address = Address.parse(f"static:{path}")
        before = BUILT_IN["static"].revision_of(address)
        assert before == make(f"static:{path}", GENES).revision
        part.write_bytes(part.read_bytes().replace(b"ins ", b"ing ") + b"\n")
        assert BUILT_IN["static"].revision_of(address) != before
    assert BUILT_IN["static"].revision_of(Address.parse("static:nowhere")) is None


@pytest.mark.parametrize("name", ["hash", "tfidf", "minilm"])
def test_like_texts_are_near(name: str) -> None:
    vectors = make(name, GENES).encode(TEXTS)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[0, 3])
    assert cosines[2, 3] > max(cosines[2, 0], cosines[2, 1])


def test_random_knows_nothing() -> None:
    vectors = Random().encode([f"text {i}" for i in range(400)])
    cosines = vectors @ vectors.T
    assert np.abs(cosines - np.diag(np.diag(cosines))).mean() == pytest.approx(np.sqrt(2 / np.pi / 384), rel=0.05)
    assert np.diag(cosines).mean() == pytest.approx(1, abs=0.02)


def test_tfidf_is_its_corpus() -> None:
    assert Tfidf(TEXTS).revision != Tfidf(TEXTS[:3]).revision
    with pytest.raises(InputError, match="share no words"):
        Tfidf(["one", "two"]).encode(["one"])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_bert_s_pooling_is_its_definition(bert: Path, pooling: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    long = TEXTS[0] + " glucose" * 60
    expected = []
    for text in [*TEXTS, long]:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=40)
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        one = states.mean(0) if pooling == "mean" else states[0]
        expected.append((one / one.norm()).numpy())
    encoder = make(f"bert:{bert}?pooling={pooling}", GENES)
    # All in one batch, so that the padding of the short ones is seen not to count.
    np.testing.assert_allclose(encoder.encode([*TEXTS, long]), expected, atol=1e-6)


def test_the_pooling_is_part_of_the_revision(bert: Path) -> None:
    mean, cls = (make(f"bert:{bert}?pooling={one}", GENES) for one in ("mean", "cls"))
    assert mean.revision != cls.revision
    assert make(f"bert:{bert}", GENES).revision == mean.revision
    assert mean.name == "bert:tiny-bert?pooling=mean"


def test_bfloat16_is_nearly_the_same_and_another_revision() -> None:
    whole, half = make("minilm", GENES), make("minilm?precision=bfloat16", GENES)
    assert half.name == "minilm?precision=bfloat16"
    assert half.revision != whole.revision
    assert make("minilm?precision=float32", GENES).revision == whole.revision
    left, right = whole.encode(TEXTS), half.encode(TEXTS)
    assert 1e-5 < np.abs(left - right).max() < 1e-2
    assert (left * right).sum(axis=1).min() > 0.999


@pytest.mark.gpu
def test_half_precision_on_a_gpu() -> None:
    half, whole = make("minilm", GENES), make("minilm?precision=float32", GENES)
    assert half.revision != whole.revision
    assert (half.encode(TEXTS) * whole.encode(TEXTS)).sum(axis=1).min() > 0.999


def in_hub(hub: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_presets_load_from_the_hub_s_cache_by_the_same_code(hub: Path, bert: Path, tmp_path: Path) -> None:
    names = ("biobert", "scibert")
    code = (
        "from scvec.embed.encoders import make, find; from scvec.errors import FileError\n"
        "from tests.test_encoders import GENES, TEXTS\n"
        f"for name in {names}:\n"
        "    try: m = make(name + '?pooling=cls', GENES)\n"
        "    except FileError as error: print(error)\n"
        "    else: print(find(name).is_here(), m.name, m.revision, *m.encode(TEXTS)[2][:3])"
    )
    found = in_hub(hub, code)
    assert found.returncode == 0, found.stderr
    direct = make(f"bert:{bert}?pooling=cls", GENES)
    for name, line in zip(names, found.stdout.splitlines(), strict=True):
        here, called, revision, *values = line.split()
        assert (here, called, revision) == ("True", f"{name}?pooling=cls", direct.revision)
        np.testing.assert_allclose([float(one) for one in values], direct.encode(TEXTS)[2][:3], atol=1e-6)
    lost = in_hub(tmp_path / "nothing", code)
    assert lost.returncode == 0, lost.stderr
    for model, line in zip((text_models.BIOBERT, text_models.SCIBERT), lost.stdout.splitlines(), strict=True):
        assert f"the weights of {model}" in line
        assert "use `download`" in line


def test_minilm_from_a_hub_s_cache(tmp_path: Path) -> None:
    """Without its package the model loads by the hub's name, from the cache, and is the same model."""
    packaged = make("minilm", GENES)
    folder = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    source = text_models._packaged_minilm()
    assert source is not None
    shutil.copytree(source, folder / "snapshots" / "abc")
    code = (
        "from scvec.embed.encoders import make, text_models as t; from tests.test_encoders import GENES; "
        "t._packaged_minilm = lambda: None; m = make('minilm', GENES); print(m.revision, *m.encode(['insulin'])[0][:3])"
    )
    found = in_hub(tmp_path / "hub", code)
    assert found.returncode == 0, found.stderr
    revision, *values = found.stdout.split()
    assert revision == packaged.revision
    np.testing.assert_allclose([float(one) for one in values], packaged.encode(["insulin"])[0][:3], atol=1e-6)
    lost = in_hub(tmp_path / "nothing", code)
    assert "MissingDependencyError: the weights of sentence-transformers/all-MiniLM-L6-v2 are missing" in lost.stderr


def test_without_the_extra_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_models, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'scvec\[text\]'"):
        make("minilm", GENES)
    assert not BUILT_IN["minilm"].is_here()


def test_threads_are_those_of_the_process_while_it_encodes(monkeypatch: pytest.MonkeyPatch, bert: Path) -> None:
    import torch

    seen: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return whole(*arguments, **options)

    encoder: Any = make(f"bert:{bert}", GENES)
    whole = encoder._model.encode
    monkeypatch.setattr(encoder._model, "encode", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # other than what it is to become, on any machine
    try:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
        encoder.encode(TEXTS)
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ada", "no encoder 'ada'"),
        ("tfidf?dimensions=3", "no option 'dimensions'"),
        ("hash:thing", "no argument .*'thing'"),
        ("minilm?pooling=cls", "one of: precision"),
        ("minilm?precision=int8", "auto or float32 or bfloat16"),
        ("minilm:thing", "no argument .*'thing'"),
        ("biobert:thing", "no argument .*'thing'"),
        ("bert", "needs a model"),
        ("st:", "needs a model"),
        ("bert:x?pooling=max", "mean or cls"),
        ("bert:x?pooling", "option=value"),
        ("bert:./nowhere", "do not exist"),
        ("st:./nowhere", "do not exist"),
        ("file:", "needs a path"),
        ("file:nowhere.npz", "does not exist"),
        ("static:", "needs a path"),
        ("static:nowhere", "does not exist"),
        ("static:tests", "has no model.safetensors"),
        ("static:README.md", "one of: .npz"),
    ],
)
def test_a_wrong_name_is_one_clear_line(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        make(name, GENES)
    assert "\n" not in str(caught.value)


def test_damaged_weights(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    for kind in ("bert", "st"):
        with pytest.raises(FileError, match="cannot be loaded"):
            make(f"{kind}:{tmp_path / 'cut'}", GENES)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileError, match="cannot be loaded"):
        make(f"bert:{tmp_path}", GENES)


PARTS = st.text(st.characters(codec="ascii", exclude_characters="?&=:#/\\~.", categories=["L", "N"]), min_size=1)


@given(PARTS, PARTS, st.dictionaries(PARTS, PARTS, max_size=3))
def test_addresses_round_trip(kind: str, argument: str, options: dict[str, str]) -> None:
    text = f"{kind}:{argument}" + ("?" + "&".join(f"{k}={v}" for k, v in options.items()) if options else "")
    address = Address.parse(text)
    assert (address.kind, address.argument, dict(address.options)) == (kind, argument, options)
    assert Address.parse(address.canonical()).canonical() == address.canonical()


def test_a_path_is_kept_by_its_last_part() -> None:
    assert Address.parse("bert:/home/me/models/biobert?pooling=cls").canonical() == "bert:biobert?pooling=cls"
    assert Address.parse("file:deep/down/GenePT.pickle").canonical() == "file:GenePT.pickle"
    assert Address.parse("st:sentence-transformers/all-mpnet-base-v2").canonical().endswith("s/all-mpnet-base-v2")


def test_vectors_of_a_file_go_to_the_genes_of_its_names(vectors_file: Path) -> None:
    encoder = make(f"file:{vectors_file}", GENES)
    with np.load(vectors_file) as file:
        np.testing.assert_array_equal(encoder.encode(TEXTS), file["vectors"].astype(np.float32))
    few = make(f"file:{vectors_file}", GENES.head(2))
    assert isinstance(few, Partial)
    assert [few.knows(text) for text in TEXTS] == [True, True, False, False]
    with pytest.raises(GeneMatchError, match="none of its 4 names"):
        make(f"file:{vectors_file}", GENES.head(0))


def test_of_two_names_of_a_gene_the_symbol_s_vector_counts(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", names=np.array(["OLD1", "INS"]), vectors=np.array([[1.0, 0], [0, 2.0]]))
    np.testing.assert_array_equal(make(f"file:{tmp_path / 'v.npz'}", GENES).encode(TEXTS[:1]), [[0, 2]])


PLUG_IN = """
import numpy as np
from scvec.embed.encoders import Model

class Length:
    name, revision, dimension = "length", "7", 2
    def encode(self, texts):
        return np.array([[len(one), 1] for one in texts], np.float32).reshape(-1, 2)

MODEL = Model("length", lambda request: Length(), "a plug-in of the tests", lambda: True, dimension=2)
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a package with an entry point, as pip leaves it."""

    def install(entry: str, code: str = PLUG_IN) -> None:
        (tmp_path / "their_encoders.py").write_text(code)
        info = tmp_path / "their_encoders-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-encoders\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[scvec.encoders]\n{entry}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "their_encoders", raising=False)

    return install


def test_an_encoder_of_another_package_plugs_in(plug_in: Any, store: sv.Store, files: Path) -> None:
    plug_in("length = their_encoders:MODEL")
    assert encoders.models()["length"].weights == "a plug-in of the tests"
    genes = sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder="length")
    assert (genes.encoder, genes.dimension, genes.n_encoded) == ("length", 2, 240)
    recipe = sv.RECIPES["genept-w"].with_encoder("length")
    atlas = sv.atlas.build(store, "theirs", files / "reference.h5ad", label_key="cell_type", recipe=recipe)
    assert atlas.manifest["dimension"] == 2


@pytest.mark.parametrize(
    "returned", ["None", "[[1, 2]]", "np.full((len(texts), 2), 1e300)", "[['a', 'b']] * len(texts)"]
)
def test_a_plug_in_that_gives_no_vectors(plug_in: Any, store: sv.Store, returned: str) -> None:
    line = next(line for line in PLUG_IN.splitlines() if "return" in line)
    plug_in("length = their_encoders:MODEL", PLUG_IN.replace(line, f"        return {returned}"))
    with pytest.raises(ServiceError, match="nothing of this batch was stored"):
        sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder="length")
    assert "length" not in store.children("gene_vectors")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("length = their_encoders:MISSING", "no attribute"),
        ("length = not_there:MODEL", "not_there"),
        ("other = their_encoders:MODEL", "a Model of that name"),
        ("minilm = their_encoders:MODEL", "built-in"),
    ],
)
def test_a_broken_plug_in_is_named(plug_in: Any, entry: str, said: str) -> None:
    plug_in(entry)
    with pytest.raises(InputError, match=f"their-encoders.*{said}"):
        encoders.models()
    assert make("hash", GENES).name == "hash"


def test_unknown_encoder(store: sv.Store) -> None:
    texts = sv.ingest.open_texts(store, "human")
    for function in (sv.embed.genes, sv.embed.open_genes):
        with pytest.raises(KeyNotFoundError, match="tfidf, hash, random, minilm"):
            function(store, texts, encoder="ada")
