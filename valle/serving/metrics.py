"""Measures of the server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60, 300)
_FACTORS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5)


class Metrics:
    """The measures of one server.

    Args:
        queue_length: Returns how many requests wait.
        running: Returns how many requests are synthesized.
        batch_rows: Returns how many rows are decoded together.
    """

    def __init__(
        self, queue_length: Callable[[], float], running: Callable[[], float], batch_rows: Callable[[], float]
    ) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter("valle_requests", "HTTP requests", ["route", "status"], registry=registry)
        self.first_audio = Histogram(
            "valle_first_audio_seconds",
            "Seconds from a request to its first audio",
            buckets=_SECONDS,
            registry=registry,
        )
        self.total = Histogram(
            "valle_speech_seconds", "Seconds from a request to its last audio", buckets=_SECONDS, registry=registry
        )
        self.real_time_factor = Histogram(
            "valle_real_time_factor",
            "Processing time per second of speech, waiting included",
            buckets=_FACTORS,
            registry=registry,
        )
        self.audio = Counter("valle_audio_seconds", "Seconds of speech that were synthesized", registry=registry)
        for name, description, function in (
            ("valle_queue_length", "Requests that wait", queue_length),
            ("valle_running_requests", "Requests that are synthesized", running),
            ("valle_batch_rows", "Rows that are decoded together", batch_rows),
        ):
            Gauge(name, description, registry=registry).set_function(function)

    def text(self) -> bytes:
        """Return all measures in Prometheus' text format."""
        return generate_latest(self.registry)
