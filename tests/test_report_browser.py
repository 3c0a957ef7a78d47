"""A report in a real browser: it opens without a network, and does what its controls say."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.opened import CHROMIUM, LABELS, MAP, NARROW, QUIET, WAIT, WIDE, Opened, counted, theme, told
from tests.reported import HOSTILE, N_CELLS, N_KNOWN, N_NEW, N_UNSURE, World

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"), pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=QUIET)
        yield one
        one.close()


@pytest.fixture
def opened(browser: Any, world: World) -> Iterator[Opened]:
    one = Opened(browser, world, WIDE)
    yield one
    one.context.close()
    assert one.errors == []


def test_it_opens_from_a_file_and_asks_for_nothing_else(opened: Opened) -> None:
    opened.scroll_through()
    assert opened.requests == [opened.address]
    assert opened.page.title() == "query.h5ad: scvec report"
    assert opened.js("window.hit") is None
    assert opened.page.locator("img, iframe").count() == 0


@pytest.mark.parametrize("cell", [0, 1, 5, N_KNOWN, N_CELLS - 2, "low_confidence", "novel"])
def test_pointing_at_a_cell_tells_of_it(opened: Opened, world: World, cell: int | str) -> None:
    page = opened.page
    at = cell if isinstance(cell, int) else int(np.flatnonzero(world.overview.doubts.reason == cell)[0])
    page.locator("#cells").scroll_into_view_if_needed()
    # Zoomed to the cell, so that no other is as near.
    x, y = (float(one) for one in world.overview.cell_map.query[at])
    opened.js(
        f"Plotly.relayout('cells', {{'xaxis.range': [{x} - 0.1, {x} + 0.1], 'yaxis.range': [{y} - 0.1, {y} + 0.1]}})"
    )
    left, top = opened.js(
        f"(() => {{ const {{ xaxis, yaxis }} = {MAP}._fullLayout;"
        f" return [xaxis._offset + xaxis.d2p({x}), yaxis._offset + yaxis.d2p({y})]; }})()"
    )
    box = page.locator("#cells").bounding_box()
    page.mouse.move(box["x"] + left - 4, box["y"] + top - 4)
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.wait_for_selector("#card dl", timeout=WAIT)
    assert opened.card() == told(world, at)
    # The name beside the point is the cell's too, and no HTML.
    assert world.calls.obs_names[at] in "".join(page.locator("#cells .hoverlayer").all_text_contents())


def test_cells_are_shown_by_doubt_and_name(opened: Opened, world: World) -> None:
    page, groups = opened.page, world.overview.doubts.group
    shown = page.locator("#shown")
    assert (shown.inner_text(), opened.selected()) == ("", list(range(N_CELLS - 1)))
    for asked in ("*", *(one.name for one in world.overview.doubts.groups)):
        page.select_option("#only", asked)
        wanted = np.flatnonzero(groups != "" if asked == "*" else groups == asked).tolist()
        assert shown.inner_text() == counted(len(wanted))
        assert opened.selected() == wanted
    page.select_option("#only", "*")
    page.fill("#find", "Q1")  # whatever the case
    named = [i for i, one in enumerate(world.calls.obs_names[:-1]) if "q1" in one.lower()]
    assert opened.selected() == [i for i in named if groups[i]]
    page.select_option("#only", "")
    assert opened.selected() == named
    assert shown.inner_text() == counted(len(named))
    page.fill("#find", "q1 no cell is called so")
    assert (shown.inner_text(), opened.selected()) == ("no such cell", [])
    page.fill("#find", "")
    assert (shown.inner_text(), opened.selected()) == ("", list(range(N_CELLS - 1)))


@pytest.mark.parametrize("name", [HOSTILE, "ζ<b>", "Q70"])
def test_a_name_of_one_cell_opens_its_card(opened: Opened, world: World, name: str) -> None:
    cell = next(i for i, one in enumerate(world.calls.obs_names) if name.lower() in one.lower())
    assert opened.page.locator("#card dl").count() == 0
    opened.page.fill("#find", name)
    assert (opened.page.locator("#shown").inner_text(), opened.selected()) == ("1 cell", [cell])
    assert opened.card() == told(world, cell)


def test_what_is_not_asked_for_is_faded_and_rings_are_hidden(opened: Opened, world: World) -> None:
    look = f"[{MAP}._fullData[0].opacity, {MAP}._fullData.at(-1).opacity]"
    x, y = opened.js(f"['x', 'y'].map((one) => Array.from({MAP}._fullData.at(-1)[one]))")
    ringed = world.overview.cell_map.query[world.overview.doubts.group != ""]
    np.testing.assert_allclose(np.stack([x, y], axis=1), ringed, rtol=1e-6)
    for ask, control, value in ((opened.page.select_option, "#only", "*"), (opened.page.fill, "#find", "q1")):
        assert opened.js(look) == [1, 1]
        ask(control, value)
        assert opened.js(look) == [0.3, 0]
        assert set(opened.js(f"{LABELS}.map((one) => one.unselected.marker.opacity)")) == {0.04}
        ask(control, "")
    assert opened.js(look) == [1, 1]


def test_a_doubt_is_shown_on_the_map(opened: Opened, world: World) -> None:
    group = world.overview.doubts.groups[-1].name
    opened.page.locator("#doubts .show").last.click()
    assert opened.page.input_value("#only") == group
    assert opened.selected() == np.flatnonzero(world.overview.doubts.group == group).tolist()
    opened.until("Math.abs(document.getElementById('map').getBoundingClientRect().top) < 5")
    assert opened.js("[...document.querySelectorAll('.doubt')].at(-1).open") is False


def test_unknown_groups_are_shown_on_the_map(opened: Opened, world: World) -> None:
    assert world.overview.names is not None
    for group, n in enumerate((N_NEW, N_UNSURE)):
        opened.page.locator("#unknown .show").nth(group).click()
        assert opened.selected() == np.flatnonzero(world.overview.names.member == group).tolist()
        assert opened.page.locator("#shown").inner_text() == counted(n)
    opened.page.select_option("#only", "")
    assert opened.selected() == list(range(N_CELLS - 1))


def test_a_gene_leads_to_the_sentence_of_its_text(opened: Opened) -> None:
    block = opened.page.locator("#unknown .group").first
    sentence = block.locator("dd").first
    assert not sentence.is_visible()
    assert block.locator("p a.gene").all_inner_texts() == ["<i>TOY3"]  # the other gene has no sentence
    block.locator("p a.gene").click()
    assert sentence.is_visible()
    assert opened.js("document.querySelector(':target').textContent") == "<i>TOY3"
    assert sentence.inner_text() == " ".join(f"It <b>secretes</b>. {HOSTILE}".split())


@pytest.mark.parametrize(("value", "key"), [("0", "confidence"), ("1", "score"), ("2", "distance"), ("3", "novelty")])
def test_cells_are_coloured_by_what_is_asked(opened: Opened, world: World, value: str, key: str) -> None:
    colours = f"{LABELS}.map((t) => t.marker.color)"
    by_label = opened.js(colours)
    assert len(set(by_label)) == len(by_label) == 4
    opened.page.select_option("#colour", value)
    marks = "Array.from(t.marker.color), Array.from(t.customdata, (one) => one[4])"
    scale = "t.marker.cmin, t.marker.cmax, t.marker.showscale"
    painted = opened.js(f"{LABELS}.map((t) => [{marks}, {scale}])")
    wanted = getattr(world.calls, key)
    for colour, cells, low, high, _ in painted:
        np.testing.assert_allclose(colour, wanted[np.array(cells, int)], rtol=1e-6)
        known = np.sort(wanted[:-1])
        ends = (0, 1) if value in "01" else (known[0], known[int(0.99 * (len(known) - 1))])
        assert (low, high) == pytest.approx(ends)
    assert [one[4] for one in painted] == [True, False, False, False]
    opened.page.select_option("#colour", "label")
    assert opened.js(colours) == by_label


def test_the_legend_names_labels_and_puts_them_away_for_good(opened: Opened, world: World) -> None:
    legend = opened.page.locator("#cells .legendtext")
    wanted = ["reference", "ductal", "alpha", "beta", HOSTILE, "doubtful"]
    assert legend.all_text_contents() == wanted
    for trace in (1, 5):
        opened.page.locator("#cells .legendtoggle").nth(trace).click()
        opened.until(f"{MAP}._fullData[{trace}].visible === 'legendonly'")
    for asked in ("*", ""):
        opened.page.select_option("#only", asked)
        away = opened.js(f"{MAP}._fullData.map((one) => one.visible === 'legendonly')")
        assert away == [False, True, False, False, False, True]


def test_the_genes_of_each_label_can_be_seen(opened: Opened, world: World) -> None:
    found = world.overview.genes
    assert found is not None
    for row, label in enumerate(found.groups):
        opened.page.select_option("#label", f"label {label}")
        ticks = opened.js(
            "[...document.querySelectorAll('#label-genes .ytick text')]"
            ".map((one) => [one.getBoundingClientRect().top, one.textContent])"
        )
        values, present = found.contributions[row], found.excess[row] > 0
        parts = []
        for way in (1, -1):
            most = [i for i in np.argsort(-way * values, kind="stable")[:12] if way * values[i] > 0]
            parts += [[i for i in most if present[i]], [i for i in most if not present[i]]]
        assert any(parts[1] + parts[3])
        assert [text for _, text in sorted(ticks)] == [found.symbols[i] for part in parts for i in part]


def test_confidences_are_counted_by_range(opened: Opened, world: World) -> None:
    place = opened.page.locator('[data-figure="confidences"]')
    place.scroll_into_view_if_needed()
    place.locator(".main-svg").first.wait_for(state="attached", timeout=WAIT)
    rows = ["under 0.5", "0.5 to 0.8", "0.8 to 0.9", "0.9 to 0.95", "0.95 to 0.99", "0.99 and more"]
    drawn = place.evaluate("(p) => p._fullData.map((t) => [t.name, Array.from(t.x), Array.from(t.y)])")
    assert [name for name, _, _ in drawn] == ["trusted", "low confidence", "novel"]
    for (_, counts, ranges), reason in zip(drawn, ("", "low_confidence", "novel"), strict=True):
        confidence = world.calls.confidence[:-1][world.overview.doubts.reason[:-1] == reason]
        assert ranges == rows
        assert counts == np.histogram(confidence, [0, 0.5, 0.8, 0.9, 0.95, 0.99, 2])[0].tolist()
    written = sorted(place.locator(".bartext").all_text_contents())
    assert written == sorted(str(n) for _, counts, _ in drawn for n in counts if n)


def test_the_doubted_cells_can_be_saved_as_a_table(opened: Opened, world: World, tmp_path: Path) -> None:
    calls, doubted = world.calls, world.overview.doubts
    opened.page.select_option("#only", "*")  # what the map shows does not matter
    opened.page.fill("#find", "q7")
    with opened.page.expect_download() as download:
        opened.page.click("#list")
    assert download.value.suggested_filename == "doubtful.csv"
    download.value.save_as(tmp_path / "doubtful.csv")
    with (tmp_path / "doubtful.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cells = np.flatnonzero(doubted.group != "").tolist()
    named = {one["cell"]: one for one in rows}
    assert len(rows) == len(named) == len(cells) > 0
    assert HOSTILE in {one["label"] for one in rows}
    for cell in cells:
        second = told(world, cell)[1]["runner-up"]
        assert named[calls.obs_names[cell]] == {
            "cell": calls.obs_names[cell],
            "label": calls.label_before_rejection[cell],
            "doubt": doubted.reason[cell].replace("_", " "),
            "confidence": f"{calls.confidence[cell]:.2f}",
            "votes": f"{calls.score[cell]:.2f}",
            "runner_up": second if second in calls.labels else "",
            "distance": f"{calls.distance[cell]:.3f}",
            "novelty": f"{calls.novelty[cell]:.2f}",
            "beyond_its_label": " ".join(calls.unexpected_genes[cell].split(", ")),
        }


LIGHT, DARK = ("light", "rgb(255, 255, 255)", "#1c2128"), ("dark", "rgb(20, 23, 27)", "#e8ebee")


def test_light_and_dark_follow_the_system_and_the_button(browser: Any, world: World) -> None:
    one = Opened(browser, world, WIDE, "dark")
    assert theme(one) == DARK
    one.page.emulate_media(color_scheme="light")
    one.until("document.documentElement.dataset.theme === 'light'")
    assert theme(one) == LIGHT
    for wanted in (DARK, LIGHT):
        one.page.click("#theme")
        assert theme(one) == wanted
    one.scroll_through()
    one.page.click("#theme")
    fonts = one.js("[...document.querySelectorAll('.js-plotly-plot')].map((p) => p._fullLayout.font.color)")
    assert len(fonts) > 8
    assert set(fonts) == {DARK[2]}
    numbers = one.js(
        "[...document.querySelectorAll('.js-plotly-plot')].flatMap((p) => p._fullData)"
        ".filter((one) => one.type === 'heatmap').map((one) => one.textfont.color)"
    )
    assert numbers == [DARK[2]] * 2
    one.context.close()
    assert one.errors == []


@pytest.mark.parametrize("viewport", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_page_does_not_scroll_sideways(browser: Any, world: World, viewport: dict[str, int]) -> None:
    one = Opened(browser, world, viewport)
    one.scroll_through()
    assert one.js("document.documentElement.scrollWidth") == viewport["width"]
    one.context.close()
    assert one.errors == []


def test_on_a_narrow_screen_the_map_is_square_and_has_no_legend(browser: Any, world: World) -> None:
    one = Opened(browser, world, NARROW)
    # A screen can be turned.
    for viewport, legends in ((NARROW, 0), (WIDE, 1), (NARROW, 0)):
        one.page.set_viewport_size(viewport)
        one.until(f"innerWidth === {viewport['width']} && {MAP}._fullLayout.width === {MAP}.clientWidth")
        one.until(f"{MAP}._fullLayout.height === {MAP}.clientHeight")
        assert one.page.locator("#cells .legend").count() == legends
        box = one.page.locator("#cells").bounding_box()
        square = pytest.approx(box["width"], abs=1)
        assert box["height"] == (620 if legends else square)
        assert box["width"] > 0.6 * viewport["width"]
        # The names on the map are there all the same.
        assert one.page.locator("#cells .annotation-text").all_text_contents() == ["ductal", "alpha", "beta", HOSTILE]
    one.context.close()
    assert one.errors == []


def test_a_figure_keeps_its_height_when_the_window_is_changed(opened: Opened) -> None:
    heights = "[...document.querySelectorAll('.js-plotly-plot')].map((p) => [p.clientHeight, p._fullLayout.height])"
    opened.scroll_through()
    before = opened.js(heights)
    opened.page.set_viewport_size({"width": 900, "height": 700})
    opened.until(f"{MAP}._fullLayout.width === {MAP}.clientWidth")
    opened.page.select_option("#colour", "0")
    opened.page.click("#theme")
    assert opened.js(heights) == before


def test_printed_it_has_all_figures_and_no_controls(opened: Opened, world: World) -> None:
    opened.page.click("#theme")
    colour = f"{MAP}._fullLayout.font.color"
    opened.js(f"addEventListener('beforeprint', () => {{ window.printed = {colour}; }})")
    assert opened.page.pdf().startswith(b"%PDF")
    assert opened.js("window.printed") == LIGHT[2]
    opened.until("document.documentElement.dataset.theme === 'dark'")
    opened.until("[...document.querySelectorAll('[data-figure]')].every((p) => p.querySelector('.main-svg'))")
    figures = opened.page.locator("[data-figure]").count()
    assert figures == 9 + len(world.overview.doubts.groups)
    assert opened.js("[...document.querySelectorAll('details')].every((one) => one.open)")
    opened.page.emulate_media(media="print")
    for one in opened.page.locator("nav, button, .controls, #card").all():
        assert not one.is_visible()
    assert opened.js("getComputedStyle(document.body).backgroundColor") == LIGHT[1]
    assert opened.page.locator("#cells").is_visible()
