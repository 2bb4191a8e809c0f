"""The page of benchmarks in a real browser, which is alone in the world.

::

    browser (lo)
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_netns import Namespace, Topology
from pytest_netns._bench_page import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_netns import NetworkNamespace, Process
    from pytest_netns.manager import NetworkManager
    from tests.conftest import Fake

ALONE = Topology(Namespace("browser"))
#: How long anything may take at most, in seconds; nothing should come near.
DEADLINE = 60.0

FLAGS = (
    "--headless",
    "--no-sandbox",  # it cannot be had by root
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
)

BACKGROUND = "getComputedStyle(document.body).backgroundColor"

#: Says of each plot what is drawn there, and how large it is on the screen.
PLOTS = """
[...document.querySelectorAll('figure svg')].map(svg => {
  const drawn = [...svg.querySelectorAll(
    '.bar > path, .line > path, .whisker > path')];
  const box = svg.getBoundingClientRect();
  return {
    id: svg.id, role: svg.getAttribute('role'), label: svg.getAttribute('aria-label'),
    title: svg.closest('figure').querySelector('h3').textContent,
    width: box.width, height: box.height,
    bars: svg.querySelectorAll('.bar > path').length,
    lines: svg.querySelectorAll('.line > path').length,
    whiskers: svg.querySelectorAll('.whisker > path').length,
    empty: drawn.filter(one => {
      const box = one.getBoundingClientRect();
      return !(box.width + box.height > 0);
    }).length,
    outside: [...svg.querySelectorAll('text')].filter(one => {
      const text = one.getBoundingClientRect();
      return text.left < box.left - 1 || text.right > box.right + 1
        || text.top < box.top - 1 || text.bottom > box.bottom + 1;
    }).map(one => one.textContent),
  };
})
"""

#: Gives the texts whose contrast with what is behind them is below 4.5 (WCAG 2.2,
#: 1.4.3 and "relative luminance").
PALE = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3]) return colour;
    }
    return [255, 255, 255];
  };
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const colour = parse(element.closest('svg') ? style.fill : style.color);
    const [a, b] = [luminance(colour), luminance(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen.push([contrast, walker.currentNode.textContent]);
  }
  return {seen: seen.length, pale: seen.filter(([contrast]) => contrast < 4.5)};
})()
"""


def _chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, "there is no Chromium: apt-get install chromium"
    return found


class Browser:
    """Chromium without a screen, spoken to over a pipe.

    Attributes:
        complaints: What it has written to its console.
        asked: What it wanted from the network or from files.
    """

    def __init__(self, namespace: NetworkNamespace, path: Path) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._number = 0
        self._session = ""
        self._unread = b""
        self._to, self._from = (self._pipe(path / one) for one in ("to", "from"))
        self._process: Process = namespace.popen(
            [
                *("sh", "-c", 'exec "$@" 3<"$0/to" 4>"$0/from"', str(path)),
                *(_chromium(), *FLAGS, f"--user-data-dir={path / 'profile'}"),
            ],
            expect_exit=True,
            env={**os.environ, "HOME": str(path), "TMPDIR": str(path)},
        )
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    @staticmethod
    def _pipe(path: Path) -> int:
        os.mkfifo(path)
        return os.open(path, os.O_RDWR)  # opened for both, it waits for nobody

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, url: str) -> None:
        """Open a page, and wait until all of it is there."""
        self._events.clear()
        self.tell("Page.navigate", url=url)
        while not any(one["method"] == "Page.loadEventFired" for one in self._events):
            self._read()
        self.value("document.fonts.ready.then(() => true)")

    def look(self, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Make the window this large, and people's taste for colours this one."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.tell("Emulation.setEmulatedMedia", features=[feature])

    def value(self, script: str) -> Any:
        """Return what a script in the page gives."""
        result = self.tell(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        result = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(result["data"])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        os.close(self._to)
        os.close(self._from)

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE
        while b"\0" not in self._unread:
            if select.select([self._from], [], [], 0.5)[0]:
                self._unread += os.read(self._from, 1 << 20)
                continue
            gone = self._process.poll() is not None or time.monotonic() > deadline
            assert not gone, f"it says nothing more:\n{self._process.output}"
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method is None:
            return
        self._events.append(message)
        if method in {"Log.entryAdded", "Runtime.exceptionThrown"}:
            self.complaints.append(json.dumps(parameters))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(parameters["args"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])


@pytest.fixture(scope="module")
def browser(
    netns_manager: NetworkManager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """Give a browser that can reach nothing but files."""
    with netns_manager.build(ALONE) as network:
        browser = Browser(network["browser"], tmp_path_factory.mktemp("browser"))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the place of a page with all that there is."""
    path = tmp_path_factory.mktemp("page") / "benchmarks.html"
    path.write_text(page(fake.several()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def opened(request: pytest.FixtureRequest, browser: Browser, url: str) -> Browser:
    """Open the page in a window of some width, for people who like it dark or not."""
    width, scheme = request.param
    browser.look(width=width, scheme=scheme)
    browser.open(url)
    assert browser.value("innerWidth") == width
    dark = browser.value("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")
    return browser


def test_every_plot_is_there(opened: Browser) -> None:
    """Each has its size, its name, and bars or lines that can be seen."""
    plots = opened.value(PLOTS)

    kinds = {"bars": 0, "curves": 0, "time": 0}
    for plot in plots:
        kinds[plot["id"].rpartition("-")[2]] += 1
        assert plot["width"] > 250
        assert plot["height"] > 60
        assert plot["role"] == "img"
        assert len(plot["label"]) > 30
        assert plot["title"]
        assert plot["bars"] + plot["lines"] > 0
        assert plot["empty"] == 0, plot
    assert kinds == {"bars": 6, "curves": 3, "time": 9}


def test_every_path_is_drawn(opened: Browser) -> None:
    """Where four were measured there are four bars, each with a whisker, or lines."""
    plots = {plot["id"]: plot for plot in opened.value(PLOTS)}

    bars, curves, time_ = (
        plots[f"m2-{name}"]
        for name in ("throughput-bars", "latency-curves", "throughput-time")
    )
    assert (bars["bars"], bars["whiskers"], bars["lines"]) == (8, 8, 0)
    assert (curves["bars"], curves["lines"], time_["lines"]) == (0, 4, 4)


def test_texts_stay_inside_of_their_plots(opened: Browser) -> None:
    """The browser's letters have other widths than those that were reckoned with."""
    assert opened.value("document.querySelectorAll('figure svg text').length") > 100

    assert [plot for plot in opened.value(PLOTS) if plot["outside"]] == []


def test_nobody_has_to_scroll_sideways(opened: Browser) -> None:
    """The page is as wide as the window, however narrow that is."""
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert opened.value(wide) <= 0
    opened.value(
        "document.body.append(Object.assign(document.createElement('div'), "
        "{id: 'wide', style: 'width: 3000px; height: 9px'}))"
    )
    assert opened.value(wide) > 0


@pytest.mark.parametrize("width", [1280, 400])
def test_long_names_fit(
    browser: Browser, fake: Fake, tmp_path: Path, width: int
) -> None:
    """Neither words without an end nor many paths make a page too wide."""
    long = "x" * 300
    names = [f"{at} {'a-proxy-with-a-long-name-' * 3}" for at in range(7)]
    one = fake(
        "compare",
        paths=names,
        unstable=["latency"],
        title=long,
        test=long,
        topology=long,
        notes=[long],
        machine={long: long},
    )
    path = tmp_path / "long.html"
    path.write_text(page([one, fake(title=long)]), encoding="utf-8")
    browser.look(width=width)
    browser.open(path.as_uri())

    assert browser.value("document.documentElement.scrollWidth") == width
    assert [plot for plot in browser.value(PLOTS) if plot["outside"]] == []


def test_texts_can_be_read(opened: Browser) -> None:
    """Their contrast with what is behind them is at least 4.5."""
    found = opened.value(PALE)

    assert found["seen"] > 500
    assert found["pale"] == []
    opened.value("document.querySelector('h1').style.color = '#777'")
    assert opened.value(PALE)["pale"]


def test_colours_can_be_told_from_their_background(opened: Browser) -> None:
    """Bars and lines have a contrast of 3, as WCAG 2.2 asks of pictures (1.4.11)."""
    colours = opened.value(
        "[...document.querySelectorAll('.bar > path, .line > path')].map(one => "
        "getComputedStyle(one)).map(one => one.fill == 'none' ? one.stroke : one.fill)"
    )
    behind = opened.value(
        "getComputedStyle(document.querySelector('section')).backgroundColor"
    )

    assert len(set(colours)) == 4
    assert all(_contrast(one, behind) >= 3 for one in colours)


def _contrast(one: str, other: str) -> float:
    high, low = sorted(map(_luminance, (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(number) / 255 for number in re.findall(r"\d+", colour)[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_dark_page_is_dark(browser: Browser, url: str) -> None:
    """On paper, too, it is light."""
    shades = {}
    for scheme in ("light", "dark"):
        browser.look(width=1280, scheme=scheme)
        browser.open(url)
        shades[scheme] = browser.value(BACKGROUND)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.tell("Emulation.setEmulatedMedia", media="print", features=[feature])
        shades[f"{scheme} paper"] = browser.value(BACKGROUND)
        browser.tell("Emulation.setEmulatedMedia", media="")

    assert _luminance(shades["dark"]) < 0.05
    assert _luminance(shades["light"]) > 0.8
    assert shades["dark paper"] == shades["light paper"] == "rgb(255, 255, 255)"


def test_the_browser_has_nothing_to_complain_about(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    """It asks for the page and for nothing else, and its console stays empty."""
    browser.open(url)
    browser.asked.clear()
    browser.complaints.clear()
    browser.open(url)
    assert browser.asked == [url]
    assert browser.complaints == []

    worse = Path(url.removeprefix("file://")).read_text(encoding="utf-8")
    worse = worse.replace("</main>", "<script>alert(1)</script></main>")
    worse = worse.replace("img-src data:", "img-src *").replace(
        "</main>", "<img src='missing.png'></main>"
    )
    (tmp_path / "worse.html").write_text(worse, encoding="utf-8")
    browser.open((tmp_path / "worse.html").as_uri())
    assert len(browser.asked) == 3
    assert "Content Security Policy" in browser.complaints[0]


def test_it_needs_no_scripts(browser: Browser, url: str) -> None:
    """Where scripts are blocked, all of it is shown."""
    browser.open(url)
    with_scripts = browser.value("document.body.innerText")
    browser.tell("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(url)
    without = browser.value("document.body.innerText")
    browser.tell("Emulation.setScriptExecutionDisabled", value=False)

    assert with_scripts == without
    assert "größer & <b>bold</b>" in without
    assert "<script>alert(1)</script>" in without


def test_titles_form_an_outline(opened: Browser) -> None:
    """One for the page, one for each measurement, and plots below those."""
    levels = opened.value(
        "[...document.querySelectorAll('h1, h2, h3')].map(h => h.tagName)"
    )

    assert levels[:2] == ["H1", "H2"]
    assert levels.count("H1") == 1
    assert levels.count("H2") == 5
    assert opened.value("document.documentElement.lang") == "en"
    assert opened.value("document.title") == "Benchmarks"


def test_what_readers_of_screens_are_told(browser: Browser, url: str) -> None:
    """Pictures have their numbers as names, and tables stay tables on a phone."""
    browser.look(width=400)
    browser.open(url)
    nodes = browser.tell("Accessibility.getFullAXTree")["nodes"]
    told = [
        (one["role"]["value"], one.get("name", {}).get("value", ""))
        for one in nodes
        if not one["ignored"]
    ]

    images = [name for role, name in told if role == "image"]
    assert any("throughput: direct 37.8 Gbit/s" in name for name in images)
    roles = [role for role, _ in told]
    assert roles.count("table") == 5
    assert ("rowheader", "throughput") in told
    assert roles.count("columnheader") >= 5
