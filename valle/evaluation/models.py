"""Names of the scoring models, and errors of models that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from valle.errors import UserError

# The packages of these contain their weights.
RECOGNIZER = "whisper-tiny.en"
ENCODER = "resemblyzer"

RECOGNIZERS = (
    f"{RECOGNIZER}, pocketsphinx, a folder or hub name of a faster-whisper or transformers CTC model, or a folder with "
    "an ONNX model for onnx-asr"
)
ENCODERS = f"{ENCODER}, the papers' wavlm_large_finetune.pth, or a folder or hub name of a transformers x-vector model"


def one_line(error: BaseException) -> str:
    """Return the message of an exception, shortened to one line; its class where it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def loading(kind: str, name: str, choices: str) -> Iterator[None]:
    """Raise UserError where a scoring model cannot be loaded in the block.

    Args:
        kind: Kind of the model, such as "recognizer".
        name: Name or path of the model.
        choices: What else can be given.
    """
    try:
        yield
    except UserError:
        raise
    # The packages of the models raise any exception for a damaged file.
    except Exception as error:
        raise UserError(f"{kind} {name!r} cannot be loaded ({one_line(error)}); give {choices}") from error
