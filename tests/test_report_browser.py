"""A report in a real browser: it opens without a network, and does what its controls say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.reported import HOSTILE, N_CELLS, World

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT = 30_000
"""Milliseconds: how long a page may take on a busy machine."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=QUIET)
        yield one
        one.close()


class Opened:
    """A report in a window of its own, and what the browser complained of and asked for."""

    def __init__(self, browser: Any, world: World, viewport: dict[str, int], scheme: str = "light") -> None:
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda one: self.errors.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda one: self.errors.append(str(one)))
        self.page.on("request", lambda one: self.requests.append(one.url))
        self.address = world.page.as_uri()
        self.page.goto(self.address)
        self.page.wait_for_selector("html[data-ready=yes]", timeout=WAIT)

    def js(self, text: str) -> Any:
        return self.page.evaluate(text)

    def until(self, condition: str) -> None:
        self.page.wait_for_function(condition, timeout=WAIT)

    def scroll_through(self) -> None:
        """Draw all that is drawn when it is seen."""
        for place in self.page.locator("[data-figure]").all():
            if place.is_visible():
                place.scroll_into_view_if_needed()
                place.locator(".main-svg").first.wait_for(state="attached", timeout=WAIT)

    def selected(self) -> list[int]:
        """Return the places in the query of the cells that are not faded."""
        traces = self.js(
            "document.getElementById('cells')._fullData.slice(1).map((t) => [t.selectedpoints ?? null,"
            " Array.from(t.customdata, (one) => one[4])])"
        )
        return sorted(int(at[i]) for chosen, at in traces for i in (range(len(at)) if chosen is None else chosen))


@pytest.fixture
def opened(browser: Any, world: World) -> Iterator[Opened]:
    one = Opened(browser, world, WIDE)
    yield one
    one.context.close()
    assert one.errors == []


def test_it_opens_from_a_file_and_asks_for_nothing_else(opened: Opened) -> None:
    opened.scroll_through()
    assert opened.requests == [opened.address]
    assert opened.page.title() == "query.h5ad: what its cells are"
    assert opened.js("window.hit") is None
    assert opened.page.locator("img, iframe").count() == 0


@pytest.mark.parametrize("cell", [0, 1, 5, N_CELLS - 3])
def test_pointing_at_a_cell_tells_of_it(opened: Opened, world: World, cell: int) -> None:
    calls, page = world.calls, opened.page
    page.locator("#cells").scroll_into_view_if_needed()
    # Zoomed to the cell, so that no other is as near.
    x, y = (float(one) for one in world.overview.cell_map.query[cell])
    opened.js(
        f"Plotly.relayout('cells', {{'xaxis.range': [{x} - 0.1, {x} + 0.1], 'yaxis.range': [{y} - 0.1, {y} + 0.1]}})"
    )
    left, top = opened.js(
        "(() => { const { xaxis, yaxis } = document.getElementById('cells')._fullLayout;"
        f" return [xaxis._offset + xaxis.d2p({x}), yaxis._offset + yaxis.d2p({y})]; }})()"
    )
    box = page.locator("#cells").bounding_box()
    page.mouse.move(box["x"] + left - 4, box["y"] + top - 4)
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.wait_for_selector("#card dl", timeout=WAIT)
    card = dict(
        zip(page.locator("#card dt").all_inner_texts(), page.locator("#card dd").all_inner_texts(), strict=True)
    )
    votes = dict(zip(calls.labels, calls.scores[cell].tolist(), strict=True))
    del votes[calls.nearest[cell]]
    second = max(votes, key=lambda one: votes[one])
    assert page.locator("#card b").inner_text() == " ".join(calls.obs_names[cell].split())
    assert card == {
        "nearest": calls.nearest[cell],
        "confidence": f"{calls.confidence[cell]:.2f}",
        "votes": f"{calls.score[cell]:.2f}",
        "runner-up": second if votes[second] > 0 else "none",
        "distance": f"{calls.distance[cell]:.3f}",
        "novelty": f"{calls.novelty[cell]:.2f}",
        "doubt": world.overview.doubts.group[cell] or "none",
        "beyond its label": calls.odd_genes[cell] or "none",
        "author": world.overview.truth[cell] if world.overview.truth is not None else "",
    }
    # The name beside the point is the cell's too, and no HTML.
    assert calls.obs_names[cell] in "".join(page.locator("#cells .hoverlayer").all_text_contents())


def test_cells_are_shown_by_doubt_and_name(opened: Opened, world: World) -> None:
    page, groups = opened.page, world.overview.doubts.group
    shown = page.locator("#shown")
    assert (shown.inner_text(), opened.selected()) == ("", list(range(N_CELLS - 1)))
    for asked in ("*", *(one.name for one in world.overview.doubts.groups)):
        page.select_option("#only", asked)
        wanted = np.flatnonzero(groups != "" if asked == "*" else groups == asked).tolist()
        assert shown.inner_text() == f"{len(wanted)} cells"
        assert opened.selected() == wanted
    page.select_option("#only", "*")
    page.fill("#find", "Q1")  # whatever the case
    named = [i for i, one in enumerate(world.calls.obs_names[:-1]) if "q1" in one.lower()]
    assert opened.selected() == [i for i in named if groups[i]]
    page.select_option("#only", "")
    assert opened.selected() == named
    assert shown.inner_text() == f"{len(named)} cells"
    for name in (HOSTILE, "ζ<b>"):
        page.fill("#find", name)
        assert opened.selected() == [i for i, one in enumerate(world.calls.obs_names) if name in one]
    page.fill("#find", "")
    assert (shown.inner_text(), opened.selected()) == ("", list(range(N_CELLS - 1)))


def test_a_doubt_is_shown_on_the_map(opened: Opened, world: World) -> None:
    group = world.overview.doubts.groups[-1].name
    opened.page.locator(".show").last.click()
    assert opened.page.input_value("#only") == group
    assert opened.selected() == np.flatnonzero(world.overview.doubts.group == group).tolist()
    opened.until("Math.abs(document.getElementById('map').getBoundingClientRect().top) < 5")
    assert opened.js("[...document.querySelectorAll('.doubt')].at(-1).open") is False


@pytest.mark.parametrize(("value", "key"), [("0", "confidence"), ("1", "score"), ("2", "distance"), ("3", "novelty")])
def test_cells_are_coloured_by_what_is_asked(opened: Opened, world: World, value: str, key: str) -> None:
    colours = "document.getElementById('cells')._fullData.slice(1).map((t) => t.marker.color)"
    by_label = opened.js(colours)
    assert len(set(by_label)) == len(by_label) == 4
    opened.page.select_option("#colour", value)
    marks = "Array.from(t.marker.color), Array.from(t.customdata, (one) => one[4])"
    scale = "t.marker.cmin, t.marker.cmax, t.marker.showscale"
    painted = opened.js(f"document.getElementById('cells')._fullData.slice(1).map((t) => [{marks}, {scale}])")
    wanted = getattr(world.calls, key)
    for colour, cells, low, high, _ in painted:
        np.testing.assert_allclose(colour, wanted[np.array(cells, int)], rtol=1e-6)
        ends = (0, 1) if value in "01" else (wanted[:-1].min(), wanted[:-1].max())
        assert (low, high) == pytest.approx(ends)
    assert [one[4] for one in painted] == [True, False, False, False]
    opened.page.select_option("#colour", "label")
    assert opened.js(colours) == by_label


def test_the_legend_names_labels_and_puts_them_away(opened: Opened, world: World) -> None:
    legend = opened.page.locator("#cells .legendtext")
    wanted = ["reference", "alpha", "ductal", "beta", HOSTILE]
    assert legend.all_text_contents() == wanted
    opened.page.locator("#cells .legendtoggle").nth(1).click()
    opened.until("document.getElementById('cells')._fullData[1].visible === 'legendonly'")


def test_the_genes_of_each_label_can_be_seen(opened: Opened, world: World) -> None:
    found = world.overview.genes
    for row, label in enumerate(found.groups):
        opened.page.select_option("#label", f"label {label}")
        ticks = opened.js(
            "[...document.querySelectorAll('#label-genes .ytick text')]"
            ".map((one) => [one.getBoundingClientRect().top, one.textContent])"
        )
        ticks = [text for _, text in sorted(ticks)]
        assert ticks[0] == found.symbols[found.contributions[row].argmax()]
        assert ticks[-1] == found.symbols[found.contributions[row].argmin()]
        assert len(ticks) == 18


def theme(opened: Opened) -> tuple[str, str, str]:
    """Return the theme, the colour of the paper, and that of a figure's text."""
    return (
        opened.js("document.documentElement.dataset.theme"),
        opened.js("getComputedStyle(document.body).backgroundColor"),
        opened.js("document.getElementById('cells')._fullLayout.font.color"),
    )


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
    one.context.close()
    assert one.errors == []


@pytest.mark.parametrize("viewport", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_page_does_not_scroll_sideways(browser: Any, world: World, viewport: dict[str, int]) -> None:
    one = Opened(browser, world, viewport)
    one.scroll_through()
    assert one.js("document.documentElement.scrollWidth") == viewport["width"]
    one.context.close()
    assert one.errors == []


def test_a_figure_keeps_its_height_when_the_window_is_changed(opened: Opened) -> None:
    heights = "[...document.querySelectorAll('.js-plotly-plot')].map((p) => [p.clientHeight, p._fullLayout.height])"
    opened.scroll_through()
    before = opened.js(heights)
    opened.page.set_viewport_size({"width": 900, "height": 700})
    opened.until("document.getElementById('cells')._fullLayout.width === document.getElementById('cells').clientWidth")
    opened.page.select_option("#colour", "0")
    opened.page.click("#theme")
    assert opened.js(heights) == before


def test_printed_it_has_all_figures_and_no_controls(opened: Opened, world: World) -> None:
    opened.page.click("#theme")
    colour = "document.getElementById('cells')._fullLayout.font.color"
    opened.js(f"addEventListener('beforeprint', () => {{ window.printed = {colour}; }})")
    assert opened.page.pdf().startswith(b"%PDF")
    assert opened.js("window.printed") == LIGHT[2]
    opened.until("document.documentElement.dataset.theme === 'dark'")
    opened.until("[...document.querySelectorAll('[data-figure]')].every((p) => p.querySelector('.main-svg'))")
    figures = opened.page.locator("[data-figure]").count()
    assert figures == 8 + len(world.overview.doubts.groups)
    assert opened.js("[...document.querySelectorAll('details')].every((one) => one.open)")
    opened.page.emulate_media(media="print")
    for one in opened.page.locator("nav, button, .controls, #card").all():
        assert not one.is_visible()
    assert opened.js("getComputedStyle(document.body).backgroundColor") == LIGHT[1]
    assert opened.page.locator("#cells").is_visible()
