"""Synthesis for requests: each in a thread of its own over one continuous batch, in a bounded queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from valle.errors import UserError
from valle.generation.continuous import CancelledError, ContinuousEngine
from valle.models.sampling import SPEECH_TOP_P, Sampling
from valle.serving.errors import RequestError
from valle.serving.metrics import Metrics
from valle.serving.schemas import OPENAI_VOICES, SpeechOptions
from valle.synthesis import TTS, SynthesisOptions
from valle.synthesis.prompt import Prompt
from valle.synthesis.saved_voices import saved_names, voice_path
from valle.synthesis.speech import SpeechChunk
from valle.synthesis.voices import DEFAULT, voices

# Chunks that wait for a slow client before its synthesis pauses.
MAX_CHUNKS = 64


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server.

    Attributes:
        running: Requests that are synthesized at once.
        queue: Requests that wait.
        characters: Characters of a text.
        seconds: Seconds until a request is ended.
        upload: Bytes of a recording.
    """

    running: int = 16
    queue: int = 64
    characters: int = 20_000
    seconds: float = 600.0
    upload: int = 25_000_000


@dataclass
class Synthesizer:
    """Synthesizes for many clients.

    Attributes:
        tts: The models, whose engine is shared.
        engine: The engine.
        limits: Limits of the server.
    """

    tts: TTS
    engine: ContinuousEngine
    limits: Limits
    running: int = 0
    waiting: int = 0
    draining: bool = False
    _prompts: dict[str, tuple[float, Prompt]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create what requests wait for."""
        self._slots = asyncio.Semaphore(self.limits.running)
        # Threads are reused, since each new one would start OpenMP threads of its own; they are no daemons, which could
        # be stopped amid native code at the end, and so abort the process.
        self._threads = ThreadPoolExecutor(self.limits.running, thread_name_prefix="valle-request")
        self.metrics = Metrics(lambda: self.waiting, lambda: self.running, lambda: self.engine.num_active)

    def resolve_voice(self, name: str | None) -> tuple[Prompt, list[str]]:
        """Return a voice, and warnings about it.

        Args:
            name: Of a bundled or a saved voice, or of one of OpenAI's, which is the default voice; None: the default.

        Raises:
            RequestError: There is no such voice.
        """
        warnings = []
        saved = saved_names()
        available = (*voices(), *saved)
        if name is not None and name not in available and name in OPENAI_VOICES:
            warnings.append(f"voice {name!r} is OpenAI's; the voice is {DEFAULT}")
            name = DEFAULT
        name = name or DEFAULT
        if name not in available:
            raise RequestError(400, f"voice {name!r} does not exist; use one of {', '.join(available)}", "voice")
        modified = voice_path(name).stat().st_mtime if name in saved else 0.0
        if name not in self._prompts or self._prompts[name][0] != modified:
            try:
                self._prompts[name] = (modified, self.tts.voice(name))
            except UserError as error:
                raise RequestError(400, str(error), "voice") from error
        return self._prompts[name][1], warnings

    def options(self, request: SpeechOptions) -> SynthesisOptions:
        """Return the options of a request. Raises RequestError where they are out of range."""
        top_p = SPEECH_TOP_P if request.top_p is None else request.top_p
        try:
            return SynthesisOptions(
                sampling=Sampling(temperature=request.temperature, top_p=top_p),
                speed=request.speed,
                pause_sentence=request.pause_sentence,
                pause_paragraph=request.pause_paragraph,
                attempts=request.attempts,
            )
        except ValueError as error:
            raise RequestError(400, str(error)) from error

    def check_text(self, text: str) -> None:
        """Raise RequestError for a text that is too long."""
        if len(text) > self.limits.characters:
            raise RequestError(
                400,
                f"input has {len(text)} characters, at most {self.limits.characters} are taken; send it in pieces "
                "over the WebSocket",
                "input",
            )

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Wait for the right to synthesize.

        Raises:
            RequestError: Too many requests wait, or the server ends.
        """
        if self.draining:
            raise RequestError(503, "the server is shutting down", headers={"Retry-After": "5"})
        if self._slots.locked() and self.waiting >= self.limits.queue:
            raise RequestError(
                429, f"{self.waiting} requests are waiting already; try again later", headers={"Retry-After": "1"}
            )
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()

    async def stream(self, make_chunks: Callable[[], Iterator[SpeechChunk]]) -> AsyncGenerator[SpeechChunk, None]:
        """Wait in the queue, then synthesize; when the result is closed, its slot in the batch is free at once.

        Args:
            make_chunks: Begins the synthesis.

        Yields:
            Its chunks.

        Raises:
            RequestError: Too many requests wait, the server ends, the text cannot be synthesized, or it took too long.
        """
        begin = time.monotonic()
        async with self._slot(), aclosing(self._run(make_chunks, begin)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _run(
        self, make_chunks: Callable[[], Iterator[SpeechChunk]], begin: float
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Run a synthesis in a thread, see `stream`; `begin` is when the request came."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[SpeechChunk | Exception | None] = asyncio.Queue(MAX_CHUNKS)
        cancelled = threading.Event()

        def put(item: SpeechChunk | Exception | None) -> None:
            future = asyncio.run_coroutine_threadsafe(chunks.put(item), loop)
            while not cancelled.is_set():
                try:
                    future.result(timeout=0.1)
                    return
                except FutureTimeoutError:
                    continue
            future.cancel()

        def work() -> None:
            try:
                with self.engine.cancellable(cancelled):
                    for chunk in make_chunks():
                        if cancelled.is_set():
                            return
                        put(chunk)
                put(None)
            except (CancelledError, FutureCancelledError):
                if not cancelled.is_set():
                    put(RequestError(503, "the server is shutting down"))
            except Exception as error:
                put(error)

        # It ends soon after `cancelled` is set.
        self._threads.submit(work)
        first = True
        seconds = 0.0
        try:
            while True:
                left = self.limits.seconds - (time.monotonic() - begin)
                try:
                    item = await asyncio.wait_for(chunks.get(), max(0.0, left))
                except asyncio.TimeoutError:
                    message = f"the request took more than {self.limits.seconds:g} s; send a shorter text"
                    raise RequestError(503, message) from None
                if item is None:
                    break
                if isinstance(item, UserError):
                    raise RequestError(400, str(item), "input") from item
                if isinstance(item, Exception):
                    raise item
                if first and len(item.samples):
                    self.metrics.first_audio.observe(time.monotonic() - begin)
                    first = False
                seconds += item.duration
                yield item
        finally:
            cancelled.set()
            if seconds:
                elapsed = time.monotonic() - begin
                self.metrics.total.observe(elapsed)
                self.metrics.real_time_factor.observe(elapsed / seconds)
                self.metrics.audio.inc(seconds)

    def speech(self, text: Any, prompt: Prompt, request: SpeechOptions) -> Callable[[], Iterator[SpeechChunk]]:
        """Return what begins the synthesis of a request."""
        options = self.options(request)
        if request.attempts == 1:
            return lambda: self.tts.stream(text, prompt, seed=request.seed, options=options, language=request.language)
        return lambda: self._parts(text, prompt, request, options)

    def _parts(
        self, text: Any, prompt: Prompt, request: SpeechOptions, options: SynthesisOptions
    ) -> Iterator[SpeechChunk]:
        """Synthesize part by part, each the best of several candidates."""
        begin = 0.0
        for speech in self.tts.synthesize_long(
            text,
            prompt,
            seed=request.seed,
            options=options,
            language=request.language,
            parts_at_once=1,
        ):
            words = None if speech.words is None else [word.shifted(begin) for word in speech.words]
            begin += speech.audio.duration
            yield SpeechChunk(speech.audio.samples, speech.audio.sample_rate, words, speech.codes)
