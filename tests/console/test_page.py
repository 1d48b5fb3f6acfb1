"""The page in a real browser, playing what the real encoder and publisher make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from console.live_page import HEIGHT, STREAM, WIDTH, LivePage

from streamproc.console.app import console_app
from streamproc.console.server import ConsoleServer

_PLAYED = """() => {
  const video = document.querySelector("video");
  const drawn = document.createElement("canvas");
  [drawn.width, drawn.height] = [32, 18];
  let light = 0;
  if (video.videoWidth) {
    drawn.getContext("2d").drawImage(video, 0, 0, 32, 18);
    const pixels = drawn.getContext("2d").getImageData(0, 0, 32, 18).data;
    for (let i = 0; i < pixels.length; i += 4) light += pixels[i] / (pixels.length / 4);
  }
  return {time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames, light,
          width: video.videoWidth, height: video.videoHeight};
}"""


@dataclass
class Opened:
    page: Any
    url: str
    messages: list[str]
    requests: list[str]

    def until(self, expected: Callable[[], bool], within_s: float = 20) -> None:
        """Looks again until it is so; a page with a strict policy cannot be waited for by evaluated text."""
        deadline = time.monotonic() + within_s
        while not expected():
            assert time.monotonic() < deadline, f"not within {within_s} s; the page says {self.messages}"
            self.page.wait_for_timeout(50)

    def played(self) -> dict[str, float]:
        found: dict[str, float] = self.page.evaluate(_PLAYED)
        return found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LivePage]:
    with LivePage(tmp_path) as live:
        yield live


@pytest.fixture
def opened(live: LivePage, browser: Any) -> Iterator[Callable[..., Opened]]:
    with ConsoleServer(console_app(live), 0) as server:
        contexts = []

        def open_page(width: int = 1280, height: int = 800, scheme: str = "light") -> Opened:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            contexts.append(context)
            found = Opened(context.new_page(), server.url, [], [])
            found.page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
            found.page.on("pageerror", lambda error: found.messages.append(str(error)))
            found.page.on("request", lambda request: found.requests.append(request.url))
            found.page.goto(server.url)
            return found

        yield open_page
        for context in contexts:
            context.close()


def test_page_opened_before_the_first_segment_plays_over_many_segments(live: LivePage, opened: Any) -> None:
    shown = opened()
    shown.until(lambda: shown.page.text_content("#stream") == STREAM)
    assert shown.played()["frames"] == 0
    assert shown.page.is_visible("#waiting")
    live.start()
    shown.until(lambda: shown.played()["time"] > 0)
    begin = shown.played()
    shown.until(lambda: shown.played()["time"] > begin["time"] + 5)
    end = shown.played()
    assert end["frames"] > begin["frames"] + 60
    assert (end["width"], end["height"]) == (WIDTH, HEIGHT)
    assert end["light"] > 120
    assert not shown.page.is_visible("#waiting")
    # The window has rolled beyond the segment whose head every other one was played with.
    media = {key for key in live.reads if key.endswith(".mp4")}
    playlist = next(body for key, body in live.store.objects.items() if key.endswith("live.m3u8")).decode()
    assert len(media) > playlist.count("#EXTINF") > 3
    assert shown.messages == []


def test_page_asks_nobody_else(live: LivePage, opened: Any) -> None:
    live.start()
    shown = opened()
    shown.until(lambda: shown.played()["time"] > 0)
    foreign = [url for url in shown.requests if not url.startswith((f"{shown.url}/", f"blob:{shown.url}/"))]
    assert foreign == []
    assert any(url.endswith(".mp4") for url in shown.requests)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_page_does_not_scroll_sideways(live: LivePage, opened: Any, scheme: str) -> None:
    live.start()
    shown = opened(width=320, height=640, scheme=scheme)
    shown.until(lambda: shown.page.text_content("#segments") not in {"0", None})
    assert shown.page.evaluate("() => document.documentElement.scrollWidth") == 320


def test_parts_of_the_lag_add_up_to_the_whole_as_shown(live: LivePage, opened: Any) -> None:
    live.start()
    shown = opened()
    shown.until(lambda: shown.page.text_content("#lag") != "–")
    whole, parts = shown.page.evaluate("""() => [document.querySelector("#lag").textContent,
        [...document.querySelectorAll("#stages-legend li:not(.sum) b")].map((b) => b.textContent)]""")
    assert len(parts) == 5
    assert sum(round(float(part) * 100) for part in parts) == round(float(whole) * 100) > 0
    assert shown.page.get_attribute("#stages", "aria-label").startswith("ingest 0.00, decode 0.00, decide 0.00")


def test_page_says_when_nobody_answers_any_more(live: LivePage, browser: Any) -> None:
    page = browser.new_page()
    with ConsoleServer(console_app(live), 0) as server:
        page.goto(server.url)
        assert page.text_content("h1") == "streamproc"
    deadline = time.monotonic() + 15
    while page.text_content("#state") != "no answer":
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)
    page.close()


def test_video_and_its_controls_are_reached_by_keyboard(opened: Any) -> None:
    shown = opened()
    shown.page.keyboard.press("Tab")
    assert shown.page.evaluate("() => document.activeElement.tagName") == "VIDEO"
    assert shown.page.get_attribute("video", "aria-label")
