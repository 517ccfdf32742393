"""The report page in a browser: it opens from a file, filters, sorts and plays audio, with the keyboard too."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import evaluate
from valle.evaluation.report import PROBLEMS

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
# To run as root, and without network requests of the browser itself.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="module")
def report(evaluated: Path) -> Path:
    """The page in a folder without any other file."""
    path = evaluated / "alone" / "page.html"
    path.parent.mkdir()
    shutil.copy(evaluated / "report" / "report.html", path)
    return path


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The opened page. Console output and network requests fail the test."""
    messages: list[str] = []
    page = browser.new_page(color_scheme=request.param)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on(
        "request",
        lambda sent: messages.append(sent.url[:80]) if sent.url.startswith(("http", "ws")) else None,
    )
    page.on("requestfailed", lambda sent: messages.append(sent.url[:80]))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert messages == []


def contrast(page: Page, selector: str) -> float:
    """Return the contrast of an element's text with the nearest background behind it (WCAG 2, relative luminance)."""
    colors = page.eval_on_selector(
        selector,
        """e => { const ink = getComputedStyle(e).color; let g = e;
        while (g && getComputedStyle(g).backgroundColor === 'rgba(0, 0, 0, 0)') g = g.parentElement;
        return [ink, getComputedStyle(g).backgroundColor]; }""",
    )

    def luminance(color: str) -> float:
        parts = [int(n) / 255 for n in re.findall(r"\d+", color)[:3]]
        r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted(map(luminance, colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_has_contrast_in_light_and_dark_mode(page: Page) -> None:
    expect(page).to_have_title("three")
    expect(page.locator("table")).to_have_count(2)
    expect(page.locator("tbody th").first).to_have_text("recording")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
                       else "rgb(13, 17, 23)")  # fmt: skip
    for selector in ("h1", ".faint", "td small", "article h3", "article .numbers", "del, ins", "button", "figcaption"):
        assert contrast(page, selector) >= 4.5, selector
    assert page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill") != background


def test_page_filters_and_sorts(page: Page) -> None:
    shown = page.locator("article:visible")
    expect(shown).to_have_count(3)
    expect(page.locator("#count")).to_have_text("3 of 3 utterances")
    errors = [float(e.get_attribute("data-wer") or "") for e in shown.all()]
    assert errors == sorted(errors, reverse=True)

    ids = [e.get_attribute("data-id") for e in shown.all()]
    page.get_by_role("combobox", name="sort by").select_option("id")
    assert [e.get_attribute("data-id") for e in shown.all()] == sorted(map(str, ids))
    page.get_by_role("combobox", name="sort by").select_option("sim")
    similarities = [float(e.get_attribute("data-sim") or "") for e in shown.all()]
    assert similarities == sorted(similarities)

    speaker = page.locator("article").first.get_attribute("data-speaker")
    page.get_by_role("combobox", name="speaker").select_option(speaker)
    expect(shown).to_have_count(1)
    page.get_by_role("button", name="reset").click()
    expect(shown).to_have_count(3)
    page.get_by_label("search").fill("no such word as this")
    expect(shown).to_have_count(0)
    expect(page.locator("#count")).to_have_text("0 of 3 utterances")
    page.get_by_label("search").fill("")
    for problem in PROBLEMS:
        page.get_by_role("combobox", name="problem").select_option(problem)
        matching = page.locator("article").evaluate_all(
            "(all, p) => all.filter(a => a.dataset.problems.split(' ').includes(p)).length", problem
        )
        expect(shown).to_have_count(matching)


def test_every_player_plays_one_at_a_time(page: Page) -> None:
    players = page.locator("article").first.locator("audio")
    # Prompt, recording, codec resynthesis, synthesized.
    expect(players).to_have_count(4)
    for index in range(4):
        players.nth(index).evaluate("async a => { await a.play(); }")
        page.wait_for_function(
            "i => { const a = document.querySelector('article').querySelectorAll('audio')[i];"
            " return a.currentTime > 0.05 && a.duration > 0.5 && !a.error; }",
            arg=index,
        )
        assert page.locator("audio").evaluate_all("all => all.filter(a => !a.paused).length") == 1
    images = page.locator("article").first.locator("img")
    expect(images).to_have_count(8)
    for image in images.all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("e => e.complete && e.naturalWidth > 10", arg=image.element_handle())


def test_page_can_be_used_with_the_keyboard(page: Page) -> None:
    def focused() -> str:
        return page.evaluate("document.activeElement.id")

    ids = [e.get_attribute("id") for e in page.locator("article").all()]
    page.keyboard.press("j")
    assert focused() == ids[0]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert focused() == ids[1]
    page.keyboard.press("s")
    playing = "document.querySelectorAll('article')[1].querySelector('[data-name=synthesized] audio')"
    page.wait_for_function(f"{playing}.currentTime > 0.05")
    page.keyboard.press("s")
    assert page.evaluate(f"{playing}.paused")
    page.keyboard.press("/")
    assert focused() == "search"
    # In the search field, "j" is a letter.
    page.keyboard.type("j")
    assert focused() == "search"
    page.keyboard.press("Escape")
    assert focused() != "search"


def test_audio_is_limited_to_the_worst_and_some_others(evaluated: Path, browser: Browser) -> None:
    shutil.copytree(evaluated / "report", evaluated / "small")
    evaluate(evaluated, "--listen", "2", output="small")
    page = browser.new_page()
    page.goto((evaluated / "small" / "report.html").as_uri())
    players = [article.locator("audio").count() for article in page.locator("article").all()]
    # The first one is the worst.
    assert players[0] == 4
    assert sorted(players) == [0, 4, 4]
    page.close()


def test_html_in_a_text_is_escaped(evaluated: Path, tmp_path: Path, browser: Browser) -> None:
    text = (evaluated / "list.tsv").read_text().splitlines()
    fields = text[1].split("\t")
    fields[3] += " <script>document.title = 'replaced'</script><img src=x onerror=alert(1)>"
    # Without a reference there is one file to score.
    fields[4] = ""
    (tmp_path / "list.tsv").write_text("\n".join([text[0], "\t".join(fields)]) + "\n")
    shutil.copytree(evaluated / "wav", tmp_path / "wav")
    evaluate(tmp_path)
    page = browser.new_page()
    page.goto((tmp_path / "report" / "report.html").as_uri())
    expect(page).to_have_title("three")
    assert "<script>" in page.locator("article .text").inner_text()
    page.close()
