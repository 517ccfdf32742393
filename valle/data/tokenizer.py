"""Tokenize a data directory: encode its audio and phonemize its texts into a folder of tokens, see `valle.data.tokens`.

A shard is written to a temporary folder, its files are moved when all are complete, and its marker is written last. An
interrupted run therefore continues with the first shard without a marker, and parallel ranks share only the folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from valle import audio
from valle.codec import Codec
from valle.codec.phone_labelled import PhoneLabelledCodec
from valle.data import kaldi
from valle.data.phoneme_timing import PhoneAlignment, symbol_starts
from valle.data.tokens import TokensConfig, marker_path
from valle.data.utterance import MAX_DURATION, Utterance
from valle.errors import UserError
from valle.files import write_text
from valle.text import normalize, phonemize

# Utterances encoded together.
BATCH_SIZE = 16


def ranks() -> tuple[int, int]:
    """Read this process's rank and the number of ranks from the environment.

    Returns:
        Rank and number of ranks as set by torchrun or SLURM; (0, 1) if neither runs this process.

    Raises:
        UserError: The variables are not whole numbers.
    """
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in os.environ and world in os.environ:
            try:
                return int(os.environ[rank]), int(os.environ[world])
            except ValueError as error:
                raise UserError(f"{rank} and {world}: must be whole numbers, as torchrun or SLURM set them") from error
    return 0, 1


class Tokenizer:
    """Tokenizes one data directory.

    Args:
        data: Data directory.
        output: Folder of tokens, created if it does not exist.
        codec: Codec that encodes the audio.
        language: espeak-ng language tag of the texts.
        shard_size: Utterances per shard.

    Raises:
        UserError: The data directory is unusable, or the folder has tokens of another configuration.
    """

    def __init__(self, data: Path, output: Path, codec: Codec, language: str = "en-us", shard_size: int = 500) -> None:
        self.output = output
        self.codec = codec
        self.utterances = kaldi.with_durations(kaldi.read(data))
        self.config = TokensConfig(
            codec=codec.name,
            frame_rate=codec.frame_rate,
            num_codebooks=codec.num_codebooks,
            codebook_size=codec.codebook_size,
            language=language,
            shard_size=shard_size,
            utterances=len(self.utterances),
            fingerprint=_fingerprint(self.utterances),
        )
        if (output / "config.json").is_file():
            self._check_same_config(TokensConfig.read(output))

    def missing(self) -> list[int]:
        """The shards of this rank that are not finished."""
        rank, world_size = ranks()
        shards = range(rank, self.config.shards, world_size)
        return [shard for shard in shards if not marker_path(self.output, shard).is_file()]

    def run(self) -> int:
        """Write the missing shards of this rank, and show a progress bar.

        Returns:
            The number of utterances tokenized by this call.

        Raises:
            UserError: An utterance cannot be tokenized, or the folder cannot be written.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        write_text(self.output / "config.json", json.dumps(asdict(self.config), indent=2) + "\n")
        shards = {shard: self._shard_utterances(shard) for shard in self.missing()}
        total = sum(map(len, shards.values()))
        columns = (TextColumn("tokenizing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            task = progress.add_task("", total=total)
            for shard, utterances in shards.items():
                write_shard(self.output, shard, self._cut_batches(utterances, partial(progress.advance, task)))
        return total

    def _check_same_config(self, existing: TokensConfig) -> None:
        """Refuse a folder of another configuration: its shards would not fit the new ones."""
        if existing == self.config:
            return
        changed = next(key for key, value in asdict(self.config).items() if getattr(existing, key) != value)
        raise UserError(f"{self.output}: was made with another {changed}; give another folder, or remove this one")

    def _shard_utterances(self, shard: int) -> list[Utterance]:
        """The utterances of a shard."""
        return self.utterances[shard * self.config.shard_size :][: self.config.shard_size]

    def _cut_batches(self, utterances: list[Utterance], advance: Callable[[int], None]) -> Iterator[Any]:
        """Lhotse cuts of utterances; `advance` receives the number of utterances after each batch."""
        for start in range(0, len(utterances), BATCH_SIZE):
            batch = utterances[start : start + BATCH_SIZE]
            yield from self._cuts(batch)
            advance(len(batch))

    def _cuts(self, utterances: list[Utterance]) -> Iterator[Any]:
        """Lhotse cuts of a batch of utterances."""
        from lhotse import MonoCut, SupervisionSegment

        codes = self._encode(utterances)
        texts = [self._normalize(u) for u in utterances]
        phonemes = phonemize(texts, self.config.language)
        prompts = self._encode_prompts(utterances)
        for u, text, symbols, utterance_codes in zip(utterances, texts, phonemes, codes, strict=True):
            # The duration is that of the codes, which are padded to whole frames.
            duration = len(utterance_codes) / self.codec.frame_rate
            supervision = SupervisionSegment(u.id, u.id, 0.0, duration, text=u.text, speaker=u.speaker)
            custom: dict[str, Any] = {"normalized": text, "phonemes": symbols}
            if u.phones:
                custom["starts"] = [round(s * self.codec.frame_rate) for s in symbol_starts(symbols, u.phones)]
            if u.id in prompts:
                custom["prompt"] = prompts[u.id]
            cut = MonoCut(u.id, 0.0, duration, 0, supervisions=[supervision], custom=custom)
            # 16 bits hold every codebook and halve the size of the shards.
            yield cut.attach_tensor("codes", utterance_codes.numpy().astype(np.int16))

    def _normalize(self, utterance: Utterance) -> str:
        """The normalized text of an utterance."""
        try:
            return normalize(utterance.text, self.config.language)
        except UserError as error:
            raise UserError(f"utterance {utterance.id!r}: {error}") from error

    def _encode(self, utterances: list[Utterance]) -> list[Any]:
        """The codes of utterances, (time, codebook) each, conditioned on the aligned phones where there are some."""
        sample_rate = self.codec.sample_rate
        waveforms = [
            audio.read(u.path, sample_rate, start=u.start, end=u.end, max_duration=MAX_DURATION).samples
            for u in utterances
        ]
        if not isinstance(self.codec, PhoneLabelledCodec):
            return self.codec.encode_batch(waveforms, sample_rate)
        phone_classes = []
        for utterance, waveform in zip(utterances, waveforms, strict=True):
            frame_centers = (np.arange(self.codec.num_frames(len(waveform))) + 0.5) / self.codec.frame_rate
            phone_classes.append(PhoneAlignment(utterance.phones).classes_at(frame_centers))
        return self.codec.encode_with_phones(waveforms, sample_rate, phone_classes)

    def _encode_prompts(self, utterances: list[Utterance]) -> dict[str, list[int]]:
        """The first codebook of the utterances' prompts, by id. As in synthesis, the codec gets no phones."""
        sample_rate = self.codec.sample_rate
        prompts = {u.id: u.prompt for u in utterances if u.prompt is not None}
        if not prompts:
            return {}
        waveforms = [audio.read(p.path, sample_rate, start=p.start, end=p.end).samples for p in prompts.values()]
        codes = self.codec.encode_batch(waveforms, sample_rate)
        return {key: prompt_codes[:, 0].tolist() for key, prompt_codes in zip(prompts, codes, strict=True)}


def write_shard(output: Path, shard: int, cuts: Iterable[Any]) -> None:
    """Write one shard of a folder of tokens, its marker last.

    Args:
        output: Folder of tokens.
        shard: Number of the shard.
        cuts: Lhotse cuts with `codes`, and with `phonemes` in `custom`.

    Raises:
        UserError: The folder cannot be written.
    """
    from lhotse.shar import SharWriter

    suffix = f".{shard:06d}"
    folder = output / f".shard{suffix}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    symbols: set[str] = set()
    durations: list[float] = []
    try:
        folder.mkdir(parents=True)
        with SharWriter(folder, {"codes": "numpy"}, shard_size=None, shard_suffix=suffix) as writer:
            for cut in cuts:
                writer.write(cut)
                symbols.update(cut.custom["phonemes"])
                durations.append(cut.duration)
        for file in sorted(folder.iterdir()):
            if file.suffix == ".gz":
                _clear_gzip_time(file)
            os.replace(file, output / file.name)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    summary = {
        "utterances": len(durations),
        "seconds": round(sum(durations), 3),
        "symbols": sorted(symbols),
        "by_second": _by_second(durations),
    }
    write_text(marker_path(output, shard), json.dumps(summary, ensure_ascii=False) + "\n")


def _fingerprint(utterances: list[Utterance]) -> str:
    """A hash of everything that the tokens depend on."""
    lines = "\n".join(f"{u.id} {u.path} {u.start} {u.end} {u.speaker} {u.text}" for u in utterances)
    for u in utterances:
        if u.prompt is not None:
            # The class was once called Stretch; with another name, no existing folder of tokens could be continued.
            prompt = f"Stretch(path={u.prompt.path!r}, start={u.prompt.start!r}, end={u.prompt.end!r})"
            lines += f"\n{u.id} {prompt}"
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _by_second(durations: list[float]) -> dict[int, tuple[int, float]]:
    """Number of utterances and their total duration, by duration rounded up to whole seconds."""
    groups: dict[int, list[float]] = defaultdict(list)
    for seconds in sorted(durations):
        groups[math.ceil(seconds)].append(seconds)
    return {second: (len(group), round(sum(group), 3)) for second, group in groups.items()}


def _clear_gzip_time(path: Path) -> None:
    """Set the modification time in a gzip header (RFC 1952, section 2.3.1) to 0: equal data become equal files."""
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(bytes(4))
