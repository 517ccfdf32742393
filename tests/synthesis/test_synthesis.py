"""valle-synth and the Python interface, on good and on bad input."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import valle
from tests.conftest import command
from valle import audio
from valle.data import kaldi
from valle.evaluation.score import read_items
from valle.evaluation.test_set import choose_prompts, read_prompts
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis import TTS, Prompt

TEXT = "The baker sold a loaf."


@pytest.fixture(scope="module")
def tts(run_directory: Path) -> TTS:
    return valle.load(run_directory, watermark=False)  # what is compared with the codec bit by bit


def test_the_python_interface(tts: TTS, speech: Path, tmp_path: Path) -> None:
    spoken = tts.synthesize(TEXT, prompt=speech, prompt_text=None, seed=3)
    assert isinstance(spoken, valle.Audio)
    assert spoken.sample_rate == 16_000
    assert np.isfinite(spoken.samples).all()
    spoken.save(tmp_path / "x.flac")
    assert abs(audio.duration(tmp_path / "x.flac") - spoken.duration) < 1e-3


def test_prompt_text_changes_what_the_models_read(tts: TTS, speech: Path) -> None:
    with_text, without = tts.prompt(speech, "Some words."), tts.prompt(speech)
    assert with_text.symbols
    assert without.symbols is None
    assert len(without.codes) == 150


def test_the_same_seed_gives_the_same_file_in_a_fresh_process(
    run_directory: Path, speech: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        command(
            "valle-synth",
            "--model",
            run_directory,
            "--prompt",
            speech,
            "--text",
            TEXT,
            "--seed",
            seed,
            "-o",
            tmp_path / f"{name}.wav",
        )
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_text_files_and_candidates(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{TEXT}\nThe dog ran.\n")
    command("valle-synth", "--model", run_directory, "--prompt", speech,
            "--prompt-text", "Hello there.", "--text-file", lines,
            "--output-dir", tmp_path / "out", "--num-candidates", "2")  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "0001-1.wav",
        "0001-2.wav",
        "0002-1.wav",
        "0002-2.wav",
    ]


def test_a_text_says_the_same_alone_and_in_a_batch(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)
    both = tts.synthesize_batch([TEXT, "The dog ran under the old bridge."], [voice, voice], [4, 5])
    alone = tts.synthesize_batch([TEXT], [voice], [4])[0]
    assert both[0].codes[:, 0].equal(alone.codes[:, 0])


def test_the_bundled_model_speaks_the_text_to_its_end(corpus: Path, tmp_path: Path) -> None:
    utterance = kaldi.with_durations(kaldi.read(corpus / "test_seen"))[0]
    prompt = choose_prompts(kaldi.read(corpus / "test_seen"))[utterance.id]
    command("valle-synth", "--prompt", prompt.utterance.path, "--prompt-text", str(prompt.text),
            "--text", utterance.text, "-o", tmp_path / "out.wav", cwd=tmp_path)  # fmt: skip
    spoken = audio.read(tmp_path / "out.wav")
    assert utterance.duration is not None
    assert 0.75 < spoken.duration / utterance.duration < 1.35
    assert audio.loudness(spoken.samples) > -35


def test_the_nar_model_gets_no_longer_prompt_than_in_training(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech, "Hello there.")
    target = tts.symbols([TEXT])[0]
    both = [*(voice.symbols or []), " ", *target]
    short = Prompt(voice.codes[: tts.nar_prompt_frames], voice.symbols)
    phonemes, codes = tts._nar_inputs(short, both, target, tts.nar_prompt_frames)
    assert len(phonemes) == len(both)
    assert codes.equal(short.codes)
    long = Prompt(torch.cat((voice.codes, voice.codes, voice.codes)), voice.symbols)
    assert len(long.codes) > tts.nar_prompt_frames
    phonemes, codes = tts._nar_inputs(long, both, target, tts.nar_prompt_frames)
    assert len(phonemes) == len(target)
    assert len(codes) == tts.nar_prompt_frames


def test_help_is_light() -> None:
    command("valle-synth", "--help")
    begin = time.perf_counter()
    shown = command("valle-synth", "--help").stdout
    assert time.perf_counter() - begin < 1.0
    assert "--prompt-text" in shown


def test_the_papers_protocols_choose_their_prompts(corpus: Path) -> None:
    utterances = kaldi.with_durations(kaldi.read(corpus / "test_unseen"))
    by_speaker: dict[str, list[kaldi.Utterance]] = {}
    for u in utterances:
        by_speaker.setdefault(u.speaker, []).append(u)
    before = {u.id: group[i - 1] for group in by_speaker.values() for i, u in enumerate(group)}  # the first: the last

    for key, choice in choose_prompts(utterances, "reference").items():
        assert (choice.utterance, choice.seconds, choice.text) == (before[key], None, before[key].text)
    cropped = choose_prompts(utterances, "reference", 2.0)
    assert all((c.seconds, c.text) == (2.0, None) for c in cropped.values())

    for u in utterances:
        choice = choose_prompts(utterances, "closest", 4.0)[u.id]
        lengths = [o.duration for o in by_speaker[u.speaker] if o.id != u.id]
        assert choice.utterance.id != u.id
        assert choice.utterance.duration == max((d for d in lengths if d <= 4.0), default=min(lengths))

    long = [u for u in utterances if u.duration > 3.0]
    for u in long:
        choice = choose_prompts(long, "continuation")[u.id]
        assert (choice.utterance, choice.seconds, choice.text) == (u, 3.0, "")
        assert abs(choice.read().duration - 3.0) < 0.01
    with pytest.raises(valle.UserError, match="valle-prepare subset"):
        choose_prompts(utterances, "continuation", 60.0)

    alone = choose_prompts(utterances[:1])[utterances[0].id]
    assert (alone.utterance.id, alone.text) == (utterances[0].id, None)


def test_a_continuation_begins_with_its_prompt(tts: TTS, corpus: Path, run_directory: Path, tmp_path: Path) -> None:
    command("valle-synth", "--model", run_directory, "--data", corpus / "test_seen", "--limit", "2", "--output-dir",
            tmp_path, "--protocol", "continuation", "--prompt-seconds", "1", "--num-candidates", "2",
            "--no-watermark")  # fmt: skip
    for prompt in (tmp_path / "prompts").iterdir():
        given = tts.codec.encode(audio.read(prompt).samples, 16_000)
        for candidate in (1, 2):
            spoken = audio.read(tmp_path / f"{prompt.stem}-{candidate}.wav").samples
            assert len(spoken) > 16_000  # a second of prompt, and something after it
            np.testing.assert_allclose(spoken[:12_000], tts.codec.decode(given)[:12_000], atol=2e-3)


def test_a_speakers_only_recording_is_not_what_its_voice_is_compared_with(
    corpus: Path, run_directory: Path, tmp_path: Path
) -> None:
    utterances = kaldi.read(corpus / "test_unseen")
    by_speaker = {u.speaker: u for u in utterances}
    alone, other = list(by_speaker.values())[:2]
    pair = [u for u in utterances if u.speaker == other.speaker][:2]
    kaldi.write(tmp_path / "data", [alone, *pair])
    command("valle-synth", "--model", run_directory, "--data", tmp_path / "data", "--output-dir", tmp_path / "wav")
    prompts = read_prompts(tmp_path / "wav")
    assert prompts[alone.id] is None
    assert all(prompts[u.id] is not None for u in pair)
    items = read_items(tmp_path / "data", tmp_path / "wav")
    assert [item.id for item in items if item.prompt is None] == [alone.id]


def test_text_that_is_gone_on_from_is_read_once(tts: TTS, speech: Path) -> None:
    prompt = tts.beginning(speech)
    target = tts.symbols([TEXT])[0]
    assert tts.units.join(prompt.symbols or [], target) == target
    assert torch.equal(tts._prefix(prompt), prompt.codes[:, 0])  # no mark that parts it from what follows


def test_smaller_weights_and_smaller_batches_speak_too(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{TEXT}\nThe dog ran.\nThe cat sat on the mat.\n")
    runs = {"all": [], "few": ["--max-batch-tokens", "1"], "int8": ["--dtype", "int8"]}
    for name, options in runs.items():
        command("valle-synth", "--model", run_directory, "--prompt", speech, "--text-file", lines, "--output-dir",
                tmp_path / name, *options)  # fmt: skip
    for number in ("0001", "0002", "0003"):
        together, alone, small = (tmp_path / name / f"{number}.wav" for name in ("all", "few", "int8"))
        assert together.read_bytes() == alone.read_bytes()
        assert audio.read(small).duration > 0


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_compiled_steps_speak_the_same_samples(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    for name, options in {"plain": ["--no-compile"], "compiled": ["--compile"], "default": []}.items():
        command("valle-synth", "--prompt", speech, "--text", TEXT, "-o", tmp_path / f"{name}.wav", *options)
    assert (tmp_path / "plain.wav").read_bytes() == (tmp_path / "compiled.wav").read_bytes()
    assert (tmp_path / "default.wav").read_bytes() == (tmp_path / "compiled.wav").read_bytes()
    done = command(
        "valle-synth", "--model", run_directory, "--prompt", speech, "--text", TEXT, "--compile", check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "must divide by 64" in done.stderr


@pytest.mark.parametrize("wrong", [["--prompt"], ["--dtype", "int3"], ["--loud"], ["--ras-threshold", "7"]])
def test_a_wrong_option_is_one_line(wrong: list[str]) -> None:
    done = command("valle-synth", "--prompt", "x.wav", "--text", "Hello.", *wrong, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert wrong[0].strip("-").replace("-", "_") in done.stderr.replace("-", "_")


def test_a_stream_is_the_codecs_audio_of_all_its_codes(tts: TTS, speech: Path) -> None:
    voice, sampling = tts.prompt(speech, "Hello there."), Sampling(top_p=0.9)
    for chunk_seconds in (0.2, 0.5, 60.0):
        chunks = list(tts.stream(TEXT, voice, seed=3, sampling=sampling, chunk_seconds=chunk_seconds))
        (job,) = tts._jobs([TEXT], [voice], [3])
        codes = torch.cat([codes for codes, _ in tts._stream_codes(TEXT, job, sampling, chunk_seconds)])
        whole = tts.synthesize_batch([TEXT], [voice], [3], sampling)[0]
        assert torch.equal(codes[:, 0], whole.codes[:, 0])
        spoken = np.concatenate([chunk.samples for chunk in chunks])
        np.testing.assert_allclose(spoken, tts.codec.decode(codes), atol=1e-4)
        if chunk_seconds == 60.0:  # a single chunk: nothing is left out of sight
            assert torch.equal(codes, whole.codes)
        else:
            assert len(chunks) > 2


def test_the_first_chunk_comes_long_before_the_last(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)
    begin = time.perf_counter()
    arrivals = [time.perf_counter() - begin for _ in tts.stream(TEXT * 4, voice, seed=3)]
    assert arrivals[0] < arrivals[-1] / 3


def test_nar_codes_are_greedy_or_drawn_from_the_seed(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)

    def speak(seed: int, sampling: NARSampling) -> torch.Tensor:
        return tts.synthesize_batch([TEXT], [voice], [seed], Sampling(temperature=0), 1, sampling)[0].codes

    assert torch.equal(speak(1, NARSampling(temperature=0)), speak(2, NARSampling(temperature=0)))
    drawn = [speak(seed, NARSampling(temperature=1.0)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[0][:, 0], drawn[2][:, 0])  # the first codebook is the AR model's
    coarse = speak(1, NARSampling(temperature=0, stages=2))
    assert torch.equal(coarse, speak(1, NARSampling(temperature=0))[:, :3])
    short = speak(1, NARSampling(prompt_seconds=0.2))
    assert torch.equal(short[:, 0], coarse[:, 0])


def bad_prompt(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.wav"
    if kind == "empty":
        path.touch()
    elif kind == "silent":
        audio.write(path, np.zeros(32_000, np.float32), 16_000)
    elif kind == "one-sample":
        audio.write(path, np.ones(1, np.float32), 16_000)
    elif kind == "not-audio":
        path.write_bytes(b"\x00\x01 this is no recording" * 100)
    elif kind == "eight-hours":
        with soundfile.SoundFile(path, "w", 8000, 1, "PCM_U8") as sound:
            for _ in range(8):
                sound.write(np.zeros(3600 * 8000, np.int16))
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "silent", "one-sample", "not-audio", "eight-hours"])
def test_a_bad_prompt_is_one_line_and_nothing_is_written(run_directory: Path, tmp_path: Path, kind: str) -> None:
    prompt, output = bad_prompt(kind, tmp_path), tmp_path / "out.wav"
    done = command(
        "valle-synth", "--model", run_directory, "--prompt", prompt, "--text", TEXT, "-o", output, check=False
    )
    refused(done, output, prompt.name)


def refused(done: subprocess.CompletedProcess[str], output: Path, named: str) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert named in done.stderr
    assert not output.exists()
    assert not list(output.parent.glob(".*partial*")) if output.parent.is_dir() else True


def test_stereo_at_96_khz_is_a_good_prompt(tts: TTS, speech: Path, tmp_path: Path) -> None:
    samples = audio.read(speech, 96_000).samples
    soundfile.write(tmp_path / "wide.wav", np.stack((samples, samples), 1), 96_000)
    assert len(tts.prompt(tmp_path / "wide.wav").codes) == 150


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "nothing to say"),
        ("?!", "nothing to say"),
        ("привет", "en-us"),
    ],
)
def test_a_bad_text_is_one_line_and_nothing_is_written(
    run_directory: Path, speech: Path, tmp_path: Path, text: str, named: str
) -> None:
    output = tmp_path / "out.wav"
    done = command(
        "valle-synth", "--model", run_directory, "--prompt", speech, "--text", text, "-o", output, check=False
    )
    refused(done, output, named)


def test_a_text_that_cannot_be_spoken_is_named_with_its_line(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    lines, output = tmp_path / "lines.txt", tmp_path / "out"
    given = ["valle-synth", "--model", run_directory, "--prompt", speech, "--text-file", lines, "--output-dir", output]
    lines.write_text("Hello there.\nпривет\n", encoding="utf-8")
    refused(command(*given, check=False), output, "lines.txt:2")
    lines.write_text("Hello there 🙂.\n", encoding="utf-8")
    refused(command(*given, "--strict-text", check=False), output, "lines.txt:1")
    assert "slightly smiling face" in command(*given).stderr
    assert (output / "0001.wav").is_file()


def test_a_truncated_checkpoint_is_one_line(run_directory: Path, speech: Path, tmp_path: Path) -> None:
    for kind in ("ar", "nar"):
        (tmp_path / f"{kind}.ckpt").write_bytes((run_directory / kind / "last.ckpt").read_bytes())
    whole = (tmp_path / "ar.ckpt").read_bytes()
    (tmp_path / "ar.ckpt").write_bytes(whole[: len(whole) // 2])
    output = tmp_path / "out.wav"
    done = command("valle-synth", "--model", tmp_path, "--prompt", speech, "--text", TEXT, "-o", output, check=False)
    refused(done, output, "ar.ckpt")


def test_a_disk_that_takes_no_more_is_one_line(tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from valle.cli.synth import main\n"
        "from valle.synthesis import TTS\n"
        "speak = TTS.synthesize_batch\n"
        "def then_no_room(*arguments):\n"
        "    spoken = speak(*arguments); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); return spoken\n"
        "TTS.synthesize_batch = then_no_room\n"
        "main()\n"
    )
    output = tmp_path / "out.wav"
    done = command("python", "-c", code, "--text", TEXT, "-o", output, check=False)
    refused(done, output, "out.wav")
