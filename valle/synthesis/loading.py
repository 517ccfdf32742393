"""Load a trained model for synthesis."""

from __future__ import annotations

from pathlib import Path

from valle import codec
from valle.checkpoint import CODEC, find_checkpoint, load_model, model_directory
from valle.codec.merging import split_name
from valle.devices import check_device
from valle.errors import UserError
from valle.generation.quantization import pack
from valle.models.ar import AR
from valle.models.nar import NAR
from valle.synthesis.pipeline import TTS
from valle.text import TextUnits, Vocabulary


def load(
    name: str | Path,
    codec_dir: str | Path | None = None,
    device: str = "cpu",
    decoder: str | None = None,
    dtype: str = "float32",
    compiled: bool | None = None,
    watermark: bool = True,
    download: bool = False,
) -> TTS:
    """Load a trained model from its run directory, or a bundled one by name.

    Args:
        name: Run directory, name of a bundled model ("small"), or ORGANIZATION/NAME of the Hugging Face Hub.
        codec_dir: Folder with the weights of a pretrained codec and decoder.
        device: cpu, cuda or cuda:N.
        decoder: "vocos" decodes EnCodec's codes with Vocos, as in VALL-E 2. None: the codec's own decoder.
        dtype: Of the weights: float32, bfloat16, int8 (on a CPU), or auto, the fastest that this machine computes
            correctly. float32, the default, gives nearly the same logits on every machine.
        compiled: Whether the AR model's decode steps run in code compiled for this machine: by its C++ compiler for the
            CPU, by `torch.compile` for a GPU; saved in `~/.cache/valle`. None: on a CPU that has a compiler.
        watermark: Whether audio carries an inaudible mark, which `valle-eval watermark` detects.
        download: Whether a model of the Hugging Face Hub is downloaded; otherwise it must have been before.

    Raises:
        UserError: There is no such model, codec or device, or the models do not belong together.
    """
    check_device(device)
    directory = model_directory(name, download=download)
    paths = {kind: find_checkpoint(directory, kind) for kind in ("ar", "nar")}
    ar, ar_parameters = load_model(paths["ar"])
    nar, nar_parameters = load_model(paths["nar"])
    if not isinstance(ar, AR) or not isinstance(nar, NAR):
        raise UserError(f"{directory}: expected an AR model in {paths['ar']} and a NAR model in {paths['nar']}")
    for key in ("codec", "vocabulary", "language", "bpe"):
        if ar_parameters[key] != nar_parameters[key]:
            raise UserError(f"{directory}: the AR and the NAR model differ in {key}; train both on the same tokens")
    # Checkpoints of earlier versions have one language.
    languages = [h.get("languages") or [h["language"]] for h in (ar_parameters, nar_parameters)]
    if languages[0] != languages[1]:
        raise UserError(f"{directory}: the AR and the NAR model differ in languages; train both on the same tokens")
    prompt_seconds = max(nar_parameters["prompt_seconds"], nar_parameters["max_prompt_seconds"])
    return TTS(
        ar=pack(ar, dtype, device, compiled),
        nar=pack(nar, dtype, device),
        nar_prompt_frames=round(prompt_seconds * nar_parameters["frame_rate"]),
        codec=codec.load(_codec_name(directory, ar_parameters["codec"]), codec_dir, decoder),
        vocabulary=Vocabulary(list(ar_parameters["vocabulary"])),
        units=TextUnits(ar_parameters["language"], ar_parameters["bpe"]),
        watermark=watermark,
        # Checkpoints of the first version do not say it: they were trained with such prompts by default.
        untranscribed_prompts=ar_parameters.get("untranscribed_prompt_prob", 1.0) > 0,
        languages=tuple(languages[0]),
        guided_attention=ar_parameters.get("guided_attention", 0.0) > 0,
        text_dropout=ar_parameters.get("text_dropout", 0.0) > 0,
        nar_text_dropout=nar_parameters.get("text_dropout", 0.0) > 0,
    )


def _codec_name(directory: Path, name: str) -> str:
    """Return the codec beside an exported model, with its merged frames; else the one that is named."""
    own = directory / CODEC
    if not own.is_dir():
        return name
    _, factor = split_name(name)
    return str(own) if factor == 1 else f"{own}:merge{factor}"
