"""Settings of the application."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the application.

    Attributes:
        model: Name of the served model.
        api_key: Key that requests have to bring; None: none is needed.
        cors_origins: Origins of other pages whose scripts may use the server.
    """

    model: str
    api_key: str | None = None
    cors_origins: list[str] = field(default_factory=list)
