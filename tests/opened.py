"""A report's page, opened in a real browser, and what it is to say."""

from __future__ import annotations

import shutil
from typing import Any

from scvec.naming.result import NO_NAME
from tests.reported import World

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT = 30_000
"""Milliseconds: how long a page may take on a busy machine."""

MAP = "document.getElementById('cells')"
LABELS = f"{MAP}._fullData.filter((one) => one.meta === 'label')"
"""The map, and its traces of the query's cells, a label each."""


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
        traces = self.js(f"{LABELS}.map((t) => [t.selectedpoints ?? null, Array.from(t.customdata, (one) => one[4])])")
        return sorted(int(at[i]) for chosen, at in traces for i in (range(len(at)) if chosen is None else chosen))

    def card(self) -> tuple[str, dict[str, str]]:
        """Return the name of the cell that the card tells of, and what it tells."""
        keys, values = (self.page.locator(f"#card {one}").all_inner_texts() for one in ("dt", "dd"))
        return self.page.locator("#card b").inner_text(), dict(zip(keys, values, strict=True))


def told(world: World, cell: int) -> tuple[str, dict[str, str]]:
    """Return what the card is to say of a cell."""
    calls, doubted = world.calls, world.overview.doubts
    votes = dict(zip(calls.labels, calls.scores[cell].tolist(), strict=True))
    own = votes.pop(calls.label_before_rejection[cell])
    second = max(votes, key=lambda one: votes[one])
    assert world.overview.truth is not None
    said = {
        "label": calls.label_before_rejection[cell],
        "confidence": f"{calls.confidence[cell]:.2f}",
        "votes": f"{100 * own:.0f} %",
        "runner-up": second if votes[second] > 0 else "no other votes",
        "distance": f"{calls.distance[cell]:.3f}",
        "novelty": f"{calls.novelty[cell]:.1f}",
        "doubt": doubted.reason[cell].replace("_", " ") or "none",
        "author": world.overview.truth[cell],
    }
    if doubted.group[cell]:
        said["unexpected genes"] = calls.unexpected_genes[cell] or "none"
    assert world.overview.names is not None
    group = int(world.overview.names.member[cell])
    if group >= 0:
        first = world.overview.names.first(group)
        said["looks like"] = f"{first.name} ({first.term_id}), {first.score:.2f}" if first else NO_NAME
    return " ".join(calls.obs_names[cell].split()), said


def counted(n: int) -> str:
    """Return what is to be said of how many cells are shown."""
    return "1 cell" if n == 1 else f"{n} cells"


def theme(opened: Opened) -> tuple[str, str, str]:
    """Return the theme, the colour of the paper, and that of a figure's text."""
    return (
        opened.js("document.documentElement.dataset.theme"),
        opened.js("getComputedStyle(document.body).backgroundColor"),
        opened.js(f"{MAP}._fullLayout.font.color"),
    )
