"""The report in a real browser: it opens from a file, filters, sorts, plays, by keys too, in light and dark."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import evaluate

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [  # as root, and without calls to anybody
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it, or name it in $CHROMIUM")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="module")
def report(evaluated: Path) -> Path:
    """The page, where nothing else lies beside it; no recording, no scores."""
    path = evaluated / "alone" / "page.html"
    path.parent.mkdir()
    shutil.copy(evaluated / "report" / "report.html", path)
    return path


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The opened page. Whatever it says on the console, or asks of the network, fails the test."""
    said: list[str] = []
    page = browser.new_page(color_scheme=request.param)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url[:80]) if asked.url.startswith(("http", "ws")) else None)
    page.on("requestfailed", lambda asked: said.append(asked.url[:80]))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert said == []


def contrast(page: Page, selector: str) -> float:
    """Contrast of an element's text with the nearest ground behind it (WCAG 2, relative luminance)."""
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


def test_it_can_be_read_in_light_and_dark(page: Page) -> None:
    expect(page).to_have_title("three")
    expect(page.locator("table")).to_have_count(2)
    expect(page.locator("tbody th").first).to_have_text("recording")
    grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == ("rgb(255, 255, 255)" if page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
                       else "rgb(13, 17, 23)")  # fmt: skip
    for selector in ("h1", ".faint", "td small", "article h3", "article .numbers", "del, ins", "button", "figcaption"):
        assert contrast(page, selector) >= 4.5, selector
    assert page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill") != grounds


def test_it_filters_and_sorts(page: Page) -> None:
    shown = page.locator("article:visible")
    expect(shown).to_have_count(3)
    expect(page.locator("#count")).to_have_text("3 of 3 utterances")
    errors = [float(e.get_attribute("data-wer") or "") for e in shown.all()]
    assert errors == sorted(errors, reverse=True)  # the worst first

    ids = [e.get_attribute("data-id") for e in shown.all()]
    page.get_by_label("first").select_option("id")
    assert [e.get_attribute("data-id") for e in shown.all()] == sorted(map(str, ids))
    page.get_by_label("first").select_option("sim")
    likeness = [float(e.get_attribute("data-sim") or "") for e in shown.all()]
    assert likeness == sorted(likeness)

    speaker = page.locator("article").first.get_attribute("data-speaker")
    page.get_by_label("speaker").select_option(speaker)
    expect(shown).to_have_count(1)
    page.get_by_role("button", name="show all").click()
    expect(shown).to_have_count(3)
    page.get_by_label("search").fill("no such word as this")
    expect(shown).to_have_count(0)
    expect(page.locator("#count")).to_have_text("0 of 3 utterances")
    page.get_by_label("search").fill("")
    for fault in ("errors", "looped", "early_stop", "other_voice"):
        page.get_by_label("fault").select_option(fault)
        there = page.locator("article").evaluate_all(
            "(all, f) => all.filter(a => a.dataset.faults.includes(f)).length", fault
        )
        expect(shown).to_have_count(there)


def test_every_sound_plays_and_one_at_a_time(page: Page) -> None:
    sounds = page.locator("article").first.locator("audio")
    expect(sounds).to_have_count(4)  # prompt, recording, codec round trip, synthesized
    for index in range(4):
        sounds.nth(index).evaluate("async a => { await a.play(); }")
        page.wait_for_function(
            "i => { const a = document.querySelector('article').querySelectorAll('audio')[i];"
            " return a.currentTime > 0.05 && a.duration > 0.5 && !a.error; }",
            arg=index,
        )
        assert page.locator("audio").evaluate_all("all => all.filter(a => !a.paused).length") == 1
    pictures = page.locator("article").first.locator("img")
    expect(pictures).to_have_count(8)
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        page.wait_for_function("e => e.complete && e.naturalWidth > 10", arg=picture.element_handle())


def test_keys_are_enough(page: Page) -> None:
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
    page.keyboard.type("j")  # now a letter like others
    assert focused() == "search"
    page.keyboard.press("Escape")
    assert focused() != "search"


def test_a_page_of_bearable_size_holds_the_worst_and_some_others(evaluated: Path, browser: Browser) -> None:
    shutil.copytree(evaluated / "report", evaluated / "small")
    evaluate(evaluated, "--listen", "2", output="small")
    page = browser.new_page()
    page.goto((evaluated / "small" / "report.html").as_uri())
    sounds = [article.locator("audio").count() for article in page.locator("article").all()]
    assert sounds[0] == 4  # the worst
    assert sorted(sounds) == [0, 4, 4]
    page.close()


def test_words_from_a_corpus_stay_words(evaluated: Path, tmp_path: Path, browser: Browser) -> None:
    text = (evaluated / "list.tsv").read_text().splitlines()
    fields = text[1].split("\t")
    fields[3] += " <script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
    (tmp_path / "list.tsv").write_text("\n".join([text[0], "\t".join(fields)]) + "\n")
    shutil.copytree(evaluated / "wav", tmp_path / "wav")
    evaluate(tmp_path)
    page = browser.new_page()
    page.goto((tmp_path / "report" / "report.html").as_uri())
    expect(page).to_have_title("three")
    assert "<script>" in page.locator("article .text").inner_text()
    page.close()
