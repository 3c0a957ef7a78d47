"""Reports: figures of the right numbers, one whole page whatever the names are, and the verbs that write it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scvec as sv
from scvec.annotation.result import NO_EXPRESSION
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import DiskFullError, InputError
from scvec.report import figures
from scvec.report.findings import Overview, doubts
from scvec.report.findings import overview as look
from scvec.report.map_figure import FEW, MAX_POINT, NAMED, cell_map
from scvec.report.page import check_report, words, write_report
from scvec.report.page.page import render
from tests.parsed import Parsed
from tests.reported import HOSTILE, N_CELLS, World

plotly = pytest.importorskip("plotly")

REASONS = {"trusted": "", "low confidence": "low_confidence", "novel": "novel"}
SHOWN = HOSTILE.replace("&", "&amp;").replace("<", "&lt;")
"""As plotly is told to show it."""

EMPTY = N_CELLS - 1


def unshown(names: Any) -> list[str]:
    return [one.replace("&lt;", "<").replace("&amp;", "&") for one in names]


def test_composition_counts_the_cells_of_each_label_and_reason(world: World) -> None:
    figure = figures.composition(world.overview)
    assert [one.name for one in figure.data] == list(REASONS)
    names, counts = np.unique(world.calls.label_before_rejection[:EMPTY].astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    for one in figure.data:
        assert unshown(one.y) == names[order[::-1]].tolist()  # the first is below
        chosen = world.overview.doubts.reason == REASONS[one.name]
        assert list(one.x) == [
            ((world.calls.label_before_rejection == name) & chosen).sum() for name in names[order[::-1]]
        ]
    assert sum(sum(one.x) for one in figure.data) == EMPTY


@pytest.mark.parametrize("key", ["confidence", "distance", "novelty"])
def test_spread_is_of_each_label_s_quantiles(world: World, key: str) -> None:
    values = getattr(world.calls, key)
    box = figures.spread(world.overview, values, key).data[0]
    for i, name in enumerate(unshown(box.y)):
        own = values[world.calls.label_before_rejection == name]
        found = [one[i] for one in (box.lowerfence, box.q1, box.median, box.q3, box.upperfence)]
        np.testing.assert_allclose(found, np.quantile(own, [0.05, 0.25, 0.5, 0.75, 0.95]), rtol=1e-6)


def test_confidences_count_every_cell_once(world: World) -> None:
    figure, edges = figures.confidences(world.overview), [-1, *figures.BANDS, 2]
    assert [one.name for one in figure.data] == list(REASONS)
    for one in figure.data:
        chosen = world.calls.confidence[world.overview.doubts.reason == REASONS[one.name]]
        assert sum(one.x) == len(chosen) > 0
        for low, high, n, text in zip(edges, edges[1:], one.x, one.text, strict=False):
            assert n == ((chosen >= low) & (chosen < high)).sum() == int(text or 0)


@pytest.mark.parametrize("which", ["genes", "doubted_genes"])
def test_genes_for_and_against_are_the_ends_of_the_contributions(world: World, which: str) -> None:
    found = getattr(world.overview, which)
    for row, group in enumerate(found.groups.tolist()):
        bars = figures.genes(found, group, 4).data[0]
        place = {symbol: i for i, symbol in enumerate(found.symbols.tolist())}
        at = [place[one] for one in unshown(bars.y)]
        values, lacks = found.contributions[row], found.excess[row, at] <= 0
        order = np.argsort(-values, kind="stable")
        np.testing.assert_array_equal(bars.x, values[at])
        assert sorted(at[:4]) == sorted(order[:4].tolist())
        assert sorted(at[4:]) == sorted(order[-4:].tolist())
        for some in (slice(0, 4), slice(4, 8)):  # what is there, then what is lacking, the most telling first
            assert lacks[some].tolist() == sorted(lacks[some])
            for kind in (False, True):
                sizes = np.abs(bars.x[some])[lacks[some] == kind]
                assert (np.diff(sizes) <= 0).all()
        assert [one == "/" for one in bars.marker.pattern.shape] == lacks.tolist()
        assert [one.startswith("less than usual") for one in bars.customdata] == lacks.tolist()
        label, against = found.label[row], found.against[row]
        assert [unshown([one])[0].split(" for ")[1] for one in bars.customdata] == [label] * 4 + [against] * 4
        assert len({*bars.marker.color[:4]}) == len({*bars.marker.color[4:]}) == 1 != len({*bars.marker.color})
    with pytest.raises(ValueError, match="not in list"):
        figures.genes(found, "nobody")


def test_dots_are_as_large_as_many_cells_express_a_gene(world: World) -> None:
    markers = world.overview.markers
    one = figures.dots(markers).data[0]
    at = {(label, gene): i for i, (label, gene) in enumerate(zip(unshown(one.y), unshown(one.x), strict=True))}
    assert len(at) == markers.mean.size == len(one.marker.size)
    for i, label in enumerate(markers.groups):
        for j, gene in enumerate(markers.symbols):
            point = at[label, gene]
            np.testing.assert_allclose(one.customdata[point], [markers.share[i, j], markers.mean[i, j]], rtol=1e-6)
            assert one.marker.color[point] == pytest.approx(markers.mean[i, j] / markers.mean[:, j].max())
    order = np.argsort(one.marker.size, kind="stable")
    assert (np.diff(one.customdata[order, 0]) >= 0).all()


def test_confusion_shows_shares_of_each_class_and_writes_cells(world: World) -> None:
    evaluation = world.overview.evaluation
    assert evaluation is not None
    one = figures.confusion(evaluation).data[0]
    assert unshown(one.x) == list(evaluation.called)
    assert unshown(one.y) == [f"{name} ({n})" for name, n in zip(evaluation.classes, evaluation.support, strict=True)]
    np.testing.assert_allclose(np.sum(one.z, axis=1), 1)
    np.testing.assert_allclose(one.z * evaluation.support[:, None], evaluation.confusion)
    assert [[int(n or 0) for n in row] for row in one.text] == evaluation.confusion.tolist()


def test_held_out_cells_are_shown_by_label_and_call(world: World) -> None:
    found = world.overview.doubts.held_out
    assert found is not None
    one = figures.held_out(found).data[0]
    assert unshown(one.x) == found.labels.tolist()
    np.testing.assert_allclose(one.z * found.counts.sum(axis=1)[:, None], found.counts)


def test_coverage_adds_up_to_all_expression(world: World) -> None:
    figure, found = figures.coverage(world.overview), world.calls.provenance["query"]["coverage"]
    *routes, none = figure.data
    assert sum(one.x[0] for one in figure.data) == pytest.approx(1)
    assert [one.x[0] for one in routes] == [part["share"] for part in found["routes"].values()]
    assert none.name == f"no gene ({found['n_genes'] - found['n_matched']} genes)"


def test_the_map_has_each_cell_with_its_values(world: World) -> None:
    figure, calls, places = cell_map(world.overview), world.calls, world.overview.cell_map
    reference, *labels, rings = figure.data
    assert [one.meta for one in figure.data] == ["reference", *["label"] * len(labels), "rings"]
    doubted = world.overview.doubts.group != ""
    np.testing.assert_array_equal(np.stack([rings.x, rings.y], axis=1), places.query[doubted])
    np.testing.assert_array_equal(np.stack([reference.x, reference.y], axis=1), places.reference)
    assert unshown(reference.text) == places.labels.tolist()
    assert unshown(one.name for one in labels) == figures.by_size(world.overview)
    seen: list[int] = []
    for one in labels:
        cells = one.customdata[:, 4].astype(int)
        seen += cells.tolist()
        assert set(calls.label_before_rejection[cells]) == set(unshown([one.name]))
        assert unshown(one.text) == calls.obs_names[cells].tolist()
        np.testing.assert_array_equal(np.stack([one.x, one.y], axis=1), places.query[cells])
        wanted = [calls.confidence[cells], calls.score[cells], calls.distance[cells], calls.novelty[cells]]
        np.testing.assert_array_equal(one.customdata[:, :4].T, wanted)
    assert sorted(seen) == list(range(EMPTY))
    looks = [(one.marker.color, one.marker.symbol) for one in labels]
    assert len(set(looks)) == len(looks)
    assert {one.marker.size / (1.5 if len(one.x) <= FEW else 1) for one in labels} == {MAX_POINT}
    assert {one.text for one in figure.layout.annotations} == {one.name for one in labels if len(one.x) >= NAMED}


def test_labels_that_are_numbers_are_names(world: World) -> None:
    numbers = {one: str(i) for i, one in enumerate(world.calls.labels)}
    nearest = np.array([numbers.get(one, one) for one in world.calls.label_before_rejection], object)
    seen = replace(world.overview, calls=replace(world.calls, label_before_rejection=nearest))
    for one in (figures.composition(seen), figures.spread(seen, world.calls.distance, "")):
        assert one.layout.yaxis.type == "category"


@pytest.fixture(scope="module")
def page(world: World) -> Parsed:
    return Parsed(world.page.read_text(encoding="utf-8"))


def test_a_page_is_one_file_that_asks_for_nothing(page: Parsed) -> None:
    assert [one for one in page.addresses if not one.startswith(("#", "data:"))] == []
    assert page.handlers == []
    assert not {"img", "iframe", "base", "object", "i"} & set(page.tags)
    assert page.tags.count("script") == 5
    ids = {one.removeprefix("#") for one in page.addresses if one.startswith("#")}
    sections = {"doubts", "unknown", "map", "composition", "genes", "scores", "truth", "coverage", "provenance"}
    assert ids == sections | {"why-0-0-0", "why-0-1-0", "why-1-0-0"}


def test_names_are_on_the_page_as_they_are(page: Parsed, world: World) -> None:
    assert page.text.count(" ".join(HOSTILE.split())) > 10
    assert "<i>TOY" in page.text
    assert "scvec report <query>" in page.text
    assert HOSTILE in page.data["query"]["labels"]
    assert HOSTILE in page.data["query"]["truth_names"]
    assert f"{HOSTILE}, novel" in page.data["query"]["groups"]
    assert f"{HOSTILE}, novel" in page.options


def test_a_page_has_each_figure_that_it_shows(page: Parsed, world: World) -> None:
    assert set(page.figures) <= set(page.data["figures"])
    assert world.overview.genes is not None
    labels, groups = world.overview.genes.groups, world.overview.doubts.groups
    own = {f"label {one}" for one in labels} | {f"doubt {one.name}" for one in groups}
    assert own == set(page.data["figures"]) - {
        *("map", "composition", "confidences", "by confidence", "by distance", "dots", "coverage", "confusion"),
        "held out",
    }
    assert {f"label {one}" for one in labels} <= set(page.options)


def test_what_is_said_is_what_was_found(page: Parsed, world: World) -> None:
    found = world.overview.doubts
    n_doubted = sum(one.n_cells for one in found.groups)
    doubted = f"{n_doubted} calls ({n_doubted / N_CELLS:.1%}) are doubtful"
    assert f"{doubted}. Of the others, at most 5% should be wrong" in page.text
    evaluation = world.overview.evaluation
    assert evaluation is not None
    assert f"accuracy {evaluation.accuracy:.3f}" in page.text
    assert "1 without expression of the atlas's genes" in page.text
    rows = {label: row for label, *row in words.label_rows(world.overview)}
    for one in found.labels:
        share, held = f"{one.n_called / N_CELLS:.1%}", [f"{one.n_right} of {n}" for n in (one.n_held, one.n_own)]
        least = "all" if np.isinf(one.threshold) else f"{one.threshold:.2f}"
        assert rows[one.label] == [f"{one.n_called}", share, f"{one.n_doubted}", least, f"{one.n_reference}", *held]
        assert " ".join([*one.label.split(), *rows[one.label]]) in page.spaced
    for group in found.groups:
        assert f"{group.n_cells} cell{'s' * (group.n_cells > 1)}, {group.share:.0%} of its calls" in page.text


def undoubted(seen: Overview) -> Overview:
    none = np.full(N_CELLS, "", object)
    reason = np.where(seen.calls.reason == NO_EXPRESSION, NO_EXPRESSION, "").astype(object)
    none_left = replace(seen.doubts, groups=(), group=none, other=none, mixtures=(), shared=(), reason=reason)
    return replace(seen, doubts=none_left, doubted_genes=None)


def uncalibrated(seen: Overview) -> Overview:
    """Return what is seen where nothing could be held out."""
    nothing = np.full(N_CELLS, np.nan, np.float32)
    one = undoubted(seen)
    return replace(
        one,
        calls=replace(one.calls, confidence=nothing, novelty=nothing),
        doubts=replace(one.doubts, error=None, held_out=None),
    )


def unlabelled(seen: Overview) -> Overview:
    return replace(seen, truth=None, evaluation=None)


@pytest.mark.parametrize(
    ("make", "said", "unsaid"),
    [
        (undoubted, "No call is doubtful", "are doubtful."),
        (uncalibrated, "The atlas has no calibration", "median confidence"),
        (unlabelled, "are doubtful.", "Against the author's labels"),
    ],
)
def test_a_page_says_what_there_is_and_no_more(
    world: World, make: Callable[[Overview], Overview], said: str, unsaid: str
) -> None:
    page = Parsed(render(make(world.overview)))
    assert said in page.text
    assert unsaid not in page.text
    assert set(page.figures) <= set(page.data["figures"])


def test_the_same_is_written_twice(world: World, tmp_path: Path) -> None:
    write_report(world.overview, tmp_path / "deep" / "again.html")
    assert (tmp_path / "deep" / "again.html").read_bytes() == world.page.read_bytes()
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["again.html"]


def test_a_page_is_plotly_and_little_beside(world: World) -> None:
    from plotly.offline import get_plotlyjs

    own = len(render(world.overview)) - len(get_plotlyjs())
    times = 50
    calls = world.calls
    many: dict[str, Any] = {
        one.name: np.repeat(getattr(calls, one.name), times, axis=0)
        for one in fields(calls)
        if isinstance(getattr(calls, one.name), np.ndarray)
    }
    seen, truth = world.overview, world.overview.truth
    assert truth is not None
    grown = replace(
        seen,
        calls=replace(calls, **many),
        cell_map=replace(seen.cell_map, query=np.repeat(seen.cell_map.query, times, axis=0)),
        doubts=replace(
            seen.doubts,
            group=np.repeat(seen.doubts.group, times),
            reason=np.repeat(seen.doubts.reason, times),
            other=np.repeat(seen.doubts.other, times),
        ),
        truth=np.repeat(truth, times),
    )
    assert own < 150_000
    a_cell = (len(render(grown)) - len(get_plotlyjs()) - own) / (N_CELLS * (times - 1))
    assert 50 < a_cell < 110


def test_a_page_is_written_whole_or_not_at_all(world: World, small_disk: Path) -> None:
    out = small_disk / "report.html"
    out.write_text("as before")
    with pytest.raises(DiskFullError):
        write_report(world.overview, out)
    assert out.read_text() == "as before"
    assert [one.name for one in small_disk.iterdir()] == ["report.html"]


def test_a_report_is_a_file_of_html(world: World, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    for name, said in (("report.pdf", "ends in .html"), ("report", "ends in .html"), ("folder.html", "is a folder")):
        for check in (check_report, lambda out: write_report(world.overview, out)):
            with pytest.raises(InputError, match=said):
                check(tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == ["folder.html"]


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No query is run."""

    def annotate(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the query was run")

    monkeypatch.setattr(sys.modules["scvec.annotation.query"], "annotate", annotate)


def asked(world: World, verb: str, out: Path, folder: Path) -> list[str]:
    to = ["--out", str(out)] if verb == "report" else ["--out", str(folder / "calls.csv"), "--report", str(out)]
    return [verb, str(world.query), "--atlas", "various", "--store", world.store.uri, "--quiet", *to]


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize(
    ("verb", "name", "more", "said"),
    [
        ("report", "report.pdf", [], "ends in .html"),
        ("query", "report.pdf", [], "ends in .html"),
        ("report", "folder.html", [], "is a folder"),
        ("query", "folder.html", [], "is a folder"),
        ("report", "r.html", ["--label-key", "nothing"], "no obs column for --label-key 'nothing'"),
        ("report", "r.html", ["--label-map", "map.json"], "without --label-key"),
        ("report", "r.html", ["--label-key", "cell_type", "--label-map", "none.json"], "none.json"),
    ],
)
def test_bad_input_is_one_line_before_the_query(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    name: str,
    more: list[str],
    said: str,
) -> None:
    (tmp_path / "folder.html").mkdir()
    assert main([*asked(world, verb, tmp_path / name, tmp_path), *more]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["folder.html"]


def test_the_verb_writes_the_page_and_says_what_is_doubted(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    (tmp_path / "map.json").write_text('{"fifth": "alpha"}')
    label = ["--label-key", "cell_type", "--label-map", str(tmp_path / "map.json")]
    assert main([*asked(world, "report", out, tmp_path), *label, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_cells"], said["out"]) == (N_CELLS, str(out))
    assert said["doubts"] == json.loads(world.overview.doubts.to_frame().write_json())
    page, mine = Parsed(out.read_text(encoding="utf-8")), Parsed(world.page.read_text(encoding="utf-8"))
    assert {**page.data["figures"], "confusion": 0} == {**mine.data["figures"], "confusion": 0}
    assert page.data["figures"]["confusion"] != mine.data["figures"]["confusion"]


def test_a_query_writes_its_calls_and_a_page_of_the_error_asked_for(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    assert main([*asked(world, "query", out, tmp_path), "--max-error", "0.2"]) == 0
    assert f"HTML report written to {out}" in capsys.readouterr().out
    assert (tmp_path / "calls.csv").is_file()
    page = Parsed(out.read_text(encoding="utf-8"))
    n = sum(one.n_cells for one in doubts(world.calls, world.atlas, 0.2).groups)
    share = f"{n} calls ({n / N_CELLS:.1%}) are doubtful"
    assert f"{share}. Of the others, at most 20% should be wrong. Doubtful calls are labelled unknown." in page.text


def test_a_report_without_doubts(
    atlas: Atlas, store: sv.Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, out = files / "reference.h5ad", tmp_path / "report.html"
    assert look(sv.annotate(reference, atlas)).doubts.groups == ()
    arguments = ["report", str(reference), "--atlas", "toy", "--store", store.uri, "--out", str(out)]
    assert main([*arguments, "--quiet"]) == 0
    assert "120 cells, 0 doubtful calls" in capsys.readouterr().out
    assert "No call is doubtful" in Parsed(out.read_text(encoding="utf-8")).text


def test_votes_that_were_not_calibrated_are_said_first(world: World) -> None:
    calls = sv.annotate(world.query, world.atlas, k=3)
    found = look(calls)
    assert found.doubts.error is None
    assert found.doubts.groups == ()
    said = " ".join(words.lead(found))
    assert "cannot tell which calls are doubtful: confidence and novelty are calibrated for the default" in said
    assert "the votes are not those that were calibrated" in " ".join(words.doubts_lead(found.doubts))
    assert "calibrated for the default votes" not in " ".join(words.lead(world.overview))


def test_unknown_groups_are_what_the_names_say(world: World) -> None:
    names, found = world.overview.names, world.overview.unknown
    assert names is not None
    assert [(one.name, one.n_cells) for one in found] == list(zip(names.clusters, names.n_cells, strict=True))
    assert [one.looks_like for one in found] == [names.suggestions[0][0], None, None]
    assert [one.others for one in found] == [names.suggestions[0][1:], names.suggestions[1], ()]
    for i, one in enumerate(found):
        cells = names.member == i
        before = world.calls.label_before_rejection[cells].tolist()
        assert dict(one.before) == {label: before.count(label) for label in before if label != sv.UNKNOWN}
        counts = [n for _, n in one.before]
        assert counts == sorted(counts, reverse=True)
        assert sum(n for _, n in one.doubts) == (cells & (world.overview.doubts.group != "")).sum()


def test_a_doubt_says_what_its_cells_look_like(world: World) -> None:
    first = world.overview.unknown[0]
    lines = {one.name: words.doubt(world.overview, one)["why"] for one in world.overview.doubts.groups}
    said = {name: [line for line in why if line.startswith("By texts")] for name, why in lines.items()}
    assert {name for name, why in said.items() if why} == {name for name, _ in first.doubts} != set()
    for name, n in first.doubts:
        looks = f"look like {HOSTILE} (CL:0000164), 0.71" if n > 1 else "looks like"
        assert len(said[name]) == 1
        assert looks in said[name][0]


def test_the_page_names_unknown_cells_or_says_that_none_stands_out(world: World) -> None:
    page = Parsed(render(world.overview))
    assert "A name stands out for 1 of 3 groups of unknown cells." in page.text
    assert f"Looks like: {' '.join(HOSTILE.split())} (CL:0000164), 0.71; because <i>TOY3, TOY5." in page.text
    assert page.text.count("No name stands out.") == 2
    assert "because TOY1" in page.text
    assert page.text.count("Names that do not stand out") == page.text.count("Runners-up") == 1
    without = Parsed(render(replace(world.overview, names=None, unknown=()))).text
    assert not [one for one in ("Unknown cells", "unknown cells:", "Looks like", "By texts") if one in without]
    assert "further label." in page.text
    assert "called unknown (1)" not in page.text
    nothing = replace(world.overview, unknown=())
    assert "No cell is unknown: there is nothing to name." in Parsed(render(nothing)).text


def test_names_of_other_cells_are_refused(world: World) -> None:
    names = world.overview.names
    assert names is not None
    with pytest.raises(InputError, match="`names` are not of the cells of the calls"):
        look(world.calls, names=replace(names, obs_names=world.calls.obs_names[::-1]))
