from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.conftest import RunningServer
from valle.synthesis.voices import find_voice

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as session:
        running = session.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any, server: RunningServer) -> Iterator[Any]:
    context = browser.new_context(permissions=["microphone"], viewport={"width": 1000, "height": 900})
    opened = context.new_page()
    problems: list[str] = []
    elsewhere: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: elsewhere.append(request.url))
    opened.goto(server.url)
    playwright.expect(opened.locator("#voice option").first).to_be_attached()
    opened.problems = problems
    yield opened
    assert [url for url in elsewhere if not url.startswith((server.url, "blob:", "data:"))] == []
    context.close()


def synthesize(page: Any, text: str) -> None:
    page.fill("#text", text)
    page.click("#synthesize")
    playwright.expect(page.locator("#status")).to_have_text("Done", timeout=60_000)


def test_text_is_heard_and_seen(page: Any, tmp_path: Path) -> None:
    synthesize(page, "Good morning to all of you.")
    words = page.locator("#words span")
    assert words.all_text_contents() == ["Good", "morning", "to", "all", "of", "you."]
    playwright.expect(page.locator("#words span.spoken")).not_to_have_count(0, timeout=10_000)
    for name in ("waveform", "spectrogram", "codes"):
        colors = page.locator(f"#{name}").evaluate(
            "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
        )
        assert colors > 1, name
    with page.expect_download() as wav:
        page.click("#download-wav")
    wav.value.save_as(tmp_path / "speech.wav")
    assert (tmp_path / "speech.wav").read_bytes()[:4] == b"RIFF"
    with page.expect_download() as mp3:
        page.click("#download-mp3")
    assert mp3.value.suggested_filename == "speech.mp3"
    assert "seed 0" in page.text_content("#measures")
    assert page.problems == []


def test_voice_is_recorded_saved_and_deleted(page: Any, server: RunningServer) -> None:
    page.click("#record")
    page.wait_for_timeout(1500)
    page.click("#record")
    playwright.expect(page.locator("#recording")).to_contain_text("s recorded")
    # The fake microphone beeps: that is no voice.
    page.fill("#name", "beep")
    page.check("#consent")
    page.click("#save")
    playwright.expect(page.locator("#voice-error")).to_contain_text("audio_sample", timeout=20_000)
    page.set_input_files("#file", find_voice("clara").recording)
    page.fill("#name", "from-page")
    page.click("#save")
    playwright.expect(page.locator("#recording")).to_contain_text("Saved as from-page", timeout=20_000)
    assert page.input_value("#voice") == "from-page"
    assert "from-page" in httpx.get(f"{server.v1}/audio/voices").json()["voices"]
    synthesize(page, "Hello.")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#remove")
    playwright.expect(page.locator("#status")).to_have_text("Voice from-page deleted")
    assert "from-page" not in httpx.get(f"{server.v1}/audio/voices").json()["voices"]


def test_bad_text_is_said_in_words_and_the_last_speech_stays(page: Any) -> None:
    synthesize(page, "Hello there.")
    page.fill("#text", "[pause]")
    page.click("#synthesize")
    playwright.expect(page.locator("#error")).to_contain_text("[pause] is no pause")
    assert page.locator("#words span").count() == 2


def test_synthesis_can_be_stopped(page: Any, server: RunningServer) -> None:
    page.fill("#text", "It is a long story about many things. " * 10)
    page.click("#synthesize")
    playwright.expect(page.locator("#result")).to_be_visible(timeout=20_000)
    page.click("#stop")
    playwright.expect(page.locator("#status")).to_have_text("Stopped")


def test_keyboard_is_enough(page: Any) -> None:
    page.locator("#text").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "voice"
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#status")).to_have_text("Done", timeout=60_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_a_contrast_of_4_5_and_every_control_a_name(page: Any, theme: str) -> None:
    synthesize(page, "Hello there.")
    page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)
    low = page.evaluate(
        """() => {
      const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
      const parse = (c) => c.match(/[\\d.]+/g).map(Number);
      const background = (e) => {
        for (; e; e = e.parentElement) {
          const c = parse(getComputedStyle(e).backgroundColor);
          if (c.length < 4 || c[3] > 0) return c;
        }
        return [255, 255, 255];
      };
      const low = [];
      for (const e of document.querySelectorAll("body *")) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.checkVisibility() || ["OPTION", "SCRIPT"].includes(e.tagName)) continue;
        const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(background(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) low.push(`${e.tagName} ${e.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
      }
      return low;
    }"""
    )
    assert low == []
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, canvas, meter, audio")]
          .filter((e) => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim()))
          .map((e) => e.id)"""
    )
    assert nameless == []
