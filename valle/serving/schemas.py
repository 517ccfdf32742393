"""What the routes take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from valle.devices import MAX_SEED
from valle.serving.encoding import Format
from valle.time_stretch import MAX_SPEED, MIN_SPEED

# Items of a batch.
MAX_ITEMS = 32
# Names of OpenAI's models and voices, which programs have fixed in their code: the served model and the default voice.
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip


class VoiceObject(BaseModel):
    """A voice as an object, as OpenAI's custom voices."""

    id: str


class SpeechOptions(BaseModel):
    """How speech is synthesized. All but the first three fields are not in OpenAI's API."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    voice: str | VoiceObject | None = Field(default=None, description="name of a voice; default: the default voice")
    response_format: Format = Field(default="mp3", description="pcm: 16 bits, 24 kHz, mono, without header")
    speed: float = Field(default=1.0, ge=MIN_SPEED, le=MAX_SPEED, description="without change of pitch")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="the same seed gives the same samples")
    temperature: float = Field(default=1.0, ge=0, le=4, description="0 takes the most likely codes")
    top_p: float | None = Field(default=None, ge=0, le=1, description="default: that of valle-synth")
    attempts: int = Field(
        default=1, ge=1, le=8, description="candidates of which the best is selected; audio then comes part by part"
    )
    language: str | None = Field(default=None, description="espeak-ng language tag of the text")
    pause_sentence: float | None = Field(
        default=None, ge=0, le=60, description="seconds of silence after each sentence"
    )
    pause_paragraph: float | None = Field(
        default=None, ge=0, le=60, description="seconds of silence after each paragraph"
    )

    @property
    def voice_name(self) -> str | None:
        """Name of the voice; None: the default voice."""
        return self.voice.id if isinstance(self.voice, VoiceObject) else self.voice


class SpeechRequest(SpeechOptions):
    """Body of POST /v1/audio/speech."""

    model: str = Field(description="id of GET /v1/models, or one of OpenAI's names")
    input: str = Field(min_length=1, description="plain text with marks, or SSML")
    stream_format: Annotated[str, Field(pattern="^(audio|sse)$")] = "audio"
    instructions: str | None = Field(default=None, description="ignored, with a Warning header")
    timestamps: bool = Field(default=False, description="with stream_format sse: the words with their seconds")
    codes: bool = Field(default=False, description="with stream_format sse: the codes, (time, codebook)")

    @field_validator("input")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("holds nothing to say; give at least one word")
        return text


class BatchItem(SpeechOptions):
    """One text of a batch; fields that are not given are those of the batch."""

    input: str = Field(min_length=1)


class BatchRequest(SpeechOptions):
    """Body of POST /v1/audio/speech/batch."""

    model: str | None = None
    items: list[BatchItem] = Field(min_length=1, max_length=MAX_ITEMS)

    def merged(self, item: BatchItem) -> BatchItem:
        """Return an item with the fields of the batch where it has none of its own."""
        shared: dict[str, Any] = self.model_dump(include=set(SpeechOptions.model_fields))
        return BatchItem(**{**shared, **item.model_dump(exclude_unset=True)})


class SessionConfig(SpeechOptions):
    """First message of the WebSocket, with the type session.config."""

    response_format: Format = "pcm"
    timestamps: bool = False
