"""Scores: what is measured, between which bounds, what two systems differ by, and that a stopped run goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import BIN, command, evaluate, noise
from valle import audio
from valle.errors import UserError
from valle.evaluation.codec_scores import perplexity
from valle.evaluation.compare import compare, difference, read_scores
from valle.evaluation.metrics import METRICS, Estimate, estimate, summary
from valle.evaluation.recognizer import load_recognizer, words
from valle.evaluation.report import alignment
from valle.evaluation.score import (
    Score,
    _forget_other_settings,
    character_errors,
    read_items,
    select,
    word_errors,
)
from valle.evaluation.similarity import load_encoder
from valle.evaluation.tables import latex, markdown, write_results
from valle.evaluation.test_list import COLUMNS, read_test_list
from valle.evaluation.wavlm_tdnn import LARGE, WavLMTDNN

FIRST = Score(
    id="u", system="synthesized", speaker="s", path="u-1.wav", start=0, end=None, text="a b", heard="a b", words=10,
    word_errors=5, characters=3, character_errors=0, sim_o=0.9, sim_r=0.9, own_voice=False, dnsmos=3.0, sig=3.0,
    bak=4.0, seconds=2.0, pauses=0.2, silence=0.2, loop=0.1, looped=False, silent=False, early_stop=False,
)  # fmt: skip
METRIC = {m.name: m for m in METRICS}


def candidates(values: list[tuple[int, float]]) -> list[Score]:
    return [replace(FIRST, path=f"u-{i}.wav", word_errors=w, sim_o=s) for i, (w, s) in enumerate(values)]


def equation_23(values: list[tuple[int, float]]) -> int:
    """VALL-E 2, equation 23, written out: by WER where the similarity is at least 0.3, else by similarity."""
    best = 0
    for index, (errors, similarity) in enumerate(values):
        a, b = min(similarity, 0.3), min(values[best][1], 0.3)
        if a > b or (a == b and errors < values[best][0]):
            best = index
    return best


@given(st.lists(st.tuples(st.sampled_from([0, 2, 5, 10]), st.floats(-1, 1)), min_size=1, max_size=5))
def test_five_time_sampling_is_sorted_as_in_the_paper(values) -> None:
    scores = candidates(values)
    assert select(scores, "first") == scores[0]
    assert select(scores, "sort") == scores[equation_23(values)]
    best = select(scores, "max")
    assert (best.word_errors, best.sim_o) == (min(w for w, _ in values), max(s for _, s in values))


def test_candidates_are_found_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "p.wav").touch()
    (tmp_path / "list.tsv").write_text("id\tprompt\ttext\nu\tp.wav\ta b\n")
    for number in (1, 2, 4):
        (tmp_path / f"u-{number}.wav").touch()
    (item,) = read_items(tmp_path / "list.tsv", tmp_path)
    assert [p.name for p in item.synthesized] == ["u-1.wav", "u-2.wav"]
    (tmp_path / "u.wav").touch()
    (item,) = read_items(tmp_path / "list.tsv", tmp_path)
    assert [p.name for p in item.synthesized] == ["u.wav"]
    (tmp_path / "list.tsv").write_text("id\tprompt\ttext\nv\tp.wav\ta b\n")
    with pytest.raises(UserError, match=r"v\.wav: not there"):
        read_items(tmp_path / "list.tsv", tmp_path)


FIELD = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12).map(str.strip)


@given(st.lists(st.fixed_dictionaries({"text": FIELD.filter(bool), "speaker": FIELD}), min_size=1, max_size=4))
def test_a_test_list_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    folder = tmp_path_factory.mktemp("list")
    (folder / "p.wav").touch()
    lines = ["speaker\ttext\tprompt", *(f"{row['speaker']}\t{row['text']}\tp.wav" for row in rows)]
    (folder / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read_test_list(folder / "list.tsv")
    assert [line.text for line in found] == [row["text"] for row in rows]
    assert [line.speaker for line in found] == [row["speaker"] or "p.wav" for row in rows]
    assert [line.id for line in found] == [f"{i + 1:04d}" for i in range(len(rows))]
    assert all(line.reference is None and line.prompt_text is None for line in found)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "first line must name the columns"),
        ("prompt\tspeaker\n", "first line must name the columns"),
        ("prompt\ttext\ttext\n", "first line must name the columns"),
        ("prompt\ttext\tvoice\n", "first line must name the columns"),
        ("prompt\ttext\n", "holds no line"),
        ("prompt\ttext\np.wav\n", "line 2: has 1 fields"),
        ("prompt\ttext\np.wav\t\n", "line 2: prompt and text must not be empty"),
        ("prompt\ttext\nq.wav\ta\n", "line 2: prompt .*q.wav is not there"),
        ("prompt\ttext\tid\np.wav\ta\t../x\n", "cannot name a file"),
        ("prompt\ttext\tid\np.wav\ta\tx\n\np.wav\tb\tx\n", "line 4: the id 'x' was there before"),
    ],
)
def test_a_wrong_test_list_is_one_clear_line(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "p.wav").touch()
    (tmp_path / "list.tsv").write_text(content)
    with pytest.raises(UserError, match=fault):
        read_test_list(tmp_path / "list.tsv")
    assert set(COLUMNS) >= {"prompt", "text", "reference"}


WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


def edits(a: list[str], b: list[str]) -> int:
    """Levenshtein's distance, by its definition."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@given(WORDS, WORDS)
def test_errors_are_the_fewest_edits(reference: list[str], heard: list[str]) -> None:
    count, errors, _ = word_errors(" ".join(reference), " ".join(heard))
    assert (count, errors) == (len(reference), edits(reference, heard))
    text, other = "".join(reference), "".join(heard)
    assert character_errors(text, other) == (len(text), edits(list(text), list(other)))
    parts = alignment(" ".join(reference), " ".join(heard))
    assert " ".join(w for kind, w in parts if kind != "insert") == " ".join(reference)
    assert " ".join(w for kind, w in parts if kind != "delete") == " ".join(heard)


def test_an_end_that_is_missing_is_an_early_stop() -> None:
    assert word_errors("one two three", "one two")[2]
    assert not word_errors("one two three", "one three")[2]
    assert not word_errors("one two three", "one two tree")[2]
    assert words("Mr. Brown saw TWENTY colours! ") == words("mister brown saw 20 colors")


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=2, max_size=12))
def test_word_error_rate_is_all_errors_by_all_words_within_its_interval(values) -> None:
    scores = [replace(FIRST, words=w, word_errors=e) for w, e in values]
    found = estimate(METRIC["wer"], scores)
    assert found.value == pytest.approx(sum(e for _, e in values) / sum(w for w, _ in values))
    rates = [e / w for w, e in values]
    assert min(rates) - 1e-9 <= found.low <= found.high <= max(rates) + 1e-9


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, held, sets = np.random.default_rng(0), 0, 200
    for _ in range(sets):
        values = rng.normal(3.0, 0.5, 40)
        found = estimate(METRIC["dnsmos"], [replace(FIRST, dnsmos=float(v)) for v in values])
        held += found.low <= 3.0 <= found.high
    assert 0.90 <= held / sets <= 0.98


def test_what_was_not_measured_has_no_value_and_no_column() -> None:
    scores = [replace(FIRST, system=system) for system in ("recording", "synthesized")]
    table = summary(scores)
    assert list(table) == ["recording", "synthesized"]
    assert table["synthesized"]["rtf"] == Estimate(None, None, None, 0)
    assert "RTF" not in markdown("t", table)
    table = summary([*scores, replace(FIRST, id="v", no_end=True, work=1.0)])
    assert (table["synthesized"]["rtf"].value, table["synthesized"]["rtf"].count) == (0.5, 1)
    assert "| RTF |" in markdown("t", table)


def test_tables_have_a_cell_a_column() -> None:
    table = summary(
        [replace(FIRST, id=str(i), word_errors=i, system=s) for i in range(3) for s in ("codec", "synthesized")]
    )
    rows = [line for line in markdown("100 % of_it", table).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows[:4]} == {rows[0].count("|")}
    assert "10.0% (0.0%, 20.0%)" in rows[2]
    document = latex("100 % of_it", table)
    assert r"100 \% of\_it" in document
    body = [line for line in document.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body[:3]} == {6 - 1 + 1}
    assert document.count(r"\begin{table}") == document.count(r"\end{table}") == 2
    assert not re.search(r"(?<!\\)[%_](?! needs)", document.split("\n", 1)[1])


def test_a_results_file_keeps_what_else_it_holds(tmp_path: Path) -> None:
    path, made = (
        tmp_path / "RESULTS.md",
        {"recipe": "bash run.sh", "command": "valle-eval", "commit": "abc", "date": "d"},
    )
    path.write_text("# mine\n\nbefore\n")
    write_results(path, "one", "| 1 |", made)
    write_results(path, "two", "| 2 |", made)
    write_results(path, "one", r"| \1 |", made | {"commit": "def"})
    text = path.read_text()
    assert text.startswith("# mine\n\nbefore\n")
    assert text.index(r"| \1 |") < text.index("Commit def, d:") < text.index("| 2 |") < text.index("Commit abc, d:")
    assert "| 1 |" not in text
    assert "    bash run.sh\n    valle-eval\n" in text


def test_the_same_system_does_not_differ_and_a_worse_one_does() -> None:
    rng = np.random.default_rng(0)
    a = {str(i): replace(FIRST, id=str(i), word_errors=int(rng.integers(0, 3))) for i in range(40)}
    worse = {key: replace(s, word_errors=s.word_errors + 1, heard="a c") for key, s in a.items()}
    same = {d.metric.name: d for d in compare(a, a).differences}
    assert same["wer"].p == 1
    assert same["wer"].low == same["wer"].high == 0
    found = compare(a, worse)
    wer = {d.metric.name: d for d in found.differences}["wer"]
    assert wer.b - wer.a == pytest.approx(0.1)
    assert wer.p < 0.001
    assert 0 < wer.low <= 0.1 <= wer.high
    assert len(found.changed) == 40


def test_chance_alone_is_called_a_difference_as_often_as_p_says() -> None:
    rng, low, runs = np.random.default_rng(1), 0, 100
    for _ in range(runs):
        pairs = [tuple(replace(FIRST, dnsmos=float(v)) for v in row) for row in rng.normal(size=(20, 2))]
        low += difference(METRIC["dnsmos"], pairs).p < 0.1
    assert 3 <= low <= 20


def test_sets_that_do_not_meet_are_not_compared(tmp_path: Path) -> None:
    a = {key: replace(FIRST, id=key) for key in "uv"}
    with pytest.raises(UserError, match="fewer than two"):
        compare(a, {key: replace(FIRST, id=key) for key in "wx"})
    with pytest.raises(UserError, match="two texts"):
        compare(a, {key: replace(FIRST, id=key, text="c") for key in "uv"})
    with pytest.raises(UserError, match=r"scores\.jsonl"):
        read_scores(tmp_path)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=50))
def test_perplexity_lies_between_one_and_the_entries_in_use(codes: list[int]) -> None:
    found = perplexity(torch.tensor(codes), 8)
    assert 1 - 1e-9 <= found <= len(set(codes)) + 1e-9
    assert perplexity(torch.arange(8), 8) == pytest.approx(8)


@pytest.mark.parametrize("masked", [False, True])
def test_a_ctc_model_of_transformers_is_a_recogniser(tmp_path: Path, masked: bool) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
    from transformers import Wav2Vec2Processor as Processor

    letters = ["<pad>", "|", *"abcdefgh"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), unk_token="<pad>", pad_token="<pad>")
    Processor(Wav2Vec2FeatureExtractor(return_attention_mask=masked), tokenizer).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    norm = {"feat_extract_norm": "layer", "do_stable_layer_norm": True} if masked else {}
    config = Wav2Vec2Config(vocab_size=len(letters), conv_dim=(8,) * 7, num_conv_pos_embeddings=4, **sizes, **norm)
    model = Wav2Vec2ForCTC(config).eval()
    model.save_pretrained(tmp_path)

    recordings = [noise(0.5), noise(0.8), noise(0.3)]
    recogniser = load_recognizer(str(tmp_path))
    heard = recogniser.transcribe(recordings)
    assert any(heard)
    assert recogniser.transcribe([]) == []
    for samples, said in zip(recordings, heard, strict=True):  # one by one, from the likeliest letter of each frame
        values = torch.from_numpy((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7))
        best = model(values[None].float()).logits.argmax(-1)[0].tolist()
        spelled = "".join(letters[c] for i, c in enumerate(best) if c and (i == 0 or c != best[i - 1]))
        assert said == " ".join(spelled.replace("|", " ").split())


def test_an_x_vector_model_of_transformers_is_a_speaker_encoder(tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    narrow = {"tdnn_dim": (8, 8, 8, 8, 24), "xvector_output_dim": 12, "num_conv_pos_embeddings": 4}
    WavLMForXVector(WavLMConfig(conv_dim=(8,) * 7, **sizes, **narrow)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    found = load_encoder(str(tmp_path)).embed(noise(1.0))
    assert found.shape == (12,)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


UNISPEECH = {  # names in wavlm_large_finetune.pth -> ours
    "feature_weight": "feature_weight",
    "layer1.conv.bias": "layer1.conv.bias",
    "layer2.Conv1dReluBn1.bn.weight": "layer2.first.bn.weight",
    "layer2.Res2Conv1dReluBn.convs.6.weight": "layer2.branches.convs.6.weight",
    "layer3.Res2Conv1dReluBn.bns.0.running_var": "layer3.branches.bns.0.running_var",
    "layer4.Conv1dReluBn2.conv.weight": "layer4.last.conv.weight",
    "layer4.SE_Connect.linear2.bias": "layer4.gate2.bias",
    "pooling.linear1.weight": "pooling.linear1.weight",
    "linear.weight": "linear.weight",
    **{
        f"feature_extract.model.{theirs}": f"wavlm.{ours}"
        for theirs, ours in {
            "mask_emb": "masked_spec_embed",
            "feature_extractor.conv_layers.3.0.weight": "feature_extractor.conv_layers.3.conv.weight",
            "feature_extractor.conv_layers.3.2.1.bias": "feature_extractor.conv_layers.3.layer_norm.bias",
            "layer_norm.weight": "feature_projection.layer_norm.weight",
            "post_extract_proj.bias": "feature_projection.projection.bias",
            "encoder.layer_norm.weight": "encoder.layer_norm.weight",
            "encoder.pos_conv.0.bias": "encoder.pos_conv_embed.conv.bias",
            "encoder.layers.1.self_attn.grep_a": "encoder.layers.1.attention.gru_rel_pos_const",
            "encoder.layers.1.self_attn.grep_linear.weight": "encoder.layers.1.attention.gru_rel_pos_linear.weight",
            "encoder.layers.1.self_attn.out_proj.weight": "encoder.layers.1.attention.out_proj.weight",
            "encoder.layers.1.self_attn_layer_norm.bias": "encoder.layers.1.layer_norm.bias",
            "encoder.layers.0.fc1.weight": "encoder.layers.0.feed_forward.intermediate_dense.weight",
            "encoder.layers.0.fc2.bias": "encoder.layers.0.feed_forward.output_dense.bias",
            "encoder.layers.0.final_layer_norm.weight": "encoder.layers.0.final_layer_norm.weight",
        }.items()
    },
}
UNISPEECH["feature_extract.model.encoder.layers.0.self_attn.relative_attention_bias.weight"] = (
    "wavlm.encoder.layers.0.attention.rel_attn_embed.weight"
)


def test_the_papers_speaker_encoder_takes_unispeechs_weights() -> None:
    sizes = LARGE | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    one, two = (WavLMTDNN(sizes | {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16}, 16, 24).eval() for _ in "ab")
    theirs = {ours: name for name, ours in UNISPEECH.items()}
    state = {theirs.get(name, name): value + 0.1 for name, value in one.state_dict().items()}
    assert set(UNISPEECH) <= set(state), set(UNISPEECH) - set(state)
    two.load(state | {"loss_calculator.projection.weight": torch.zeros(1)})
    for name, value in one.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(two.state_dict()[name], value + 0.1), name
    with torch.inference_mode():
        assert two(torch.randn(3, 8_000)).shape == (3, 256)
    del state["layer2.Res2Conv1dReluBn.convs.6.weight"]
    with pytest.raises(RuntimeError, match=r"layer2\.branches\.convs\.6"):
        two.load(state)


def test_judges_that_cannot_be_loaded_are_one_clear_line(tmp_path: Path) -> None:
    for load in (load_recognizer, load_encoder):
        with pytest.raises(UserError, match="cannot be loaded"):
            load(str(tmp_path))
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"other\.pth: not the weights of WavLM-TDNN"):
        load_encoder(str(tmp_path / "other.pth"))


def test_pocketsphinx_hears_words() -> None:
    silence, recogniser = np.zeros(16_000, np.float32), load_recognizer("pocketsphinx")
    assert len(recogniser.transcribe([silence, noise(1.0)])) == 2


def test_one_command_gives_every_form_of_the_table(evaluated: Path) -> None:
    report = evaluated / "report"
    rows = [json.loads(line) for line in (report / "scores.jsonl").read_text().splitlines()]
    assert [row["system"] for row in rows] == ["recording", "codec", "synthesized"] * 3
    assert all(set(row) == set(asdict(FIRST)) for row in rows)
    document = json.loads((report / "summary.json").read_text())
    for system in ("recording", "codec", "synthesized"):
        own = [row for row in rows if row["system"] == system]
        wer = document["systems"][system]["wer"]
        assert wer["value"] == sum(row["word_errors"] for row in own) / sum(row["words"] for row in own)
        assert wer["low"] <= wer["value"] <= wer["high"]
    assert document["recipe"] == "egs/none"
    assert "--model small" in document["command"]
    assert document["systems"]["synthesized"]["rtf"]["value"] > 0
    spoken = [json.loads(line) for line in (evaluated / "wav" / "speech.jsonl").read_text().splitlines()]
    assert {line["file"] for line in spoken} == {f"{row['id']}.wav" for row in rows}
    for line in spoken:
        codes = np.load(evaluated / "wav" / "codes" / line["file"].replace(".wav", ".npy"))
        assert abs(len(codes) / 50 - line["seconds"]) < 0.05
        assert line["seconds"] == pytest.approx(audio.duration(evaluated / "wav" / line["file"]))
    table = (report / "report.md").read_text()
    assert table in (evaluated / "RESULTS.md").read_text()
    assert r"\toprule" in (report / "report.tex").read_text()


def test_scoring_killed_in_the_middle_goes_on_and_ends_the_same(evaluated: Path) -> None:
    options = ["--title", "three", "--batch-size", "1"]
    arguments = [BIN / "valle-eval", evaluated / "list.tsv", evaluated / "wav", evaluated / "killed", *options]
    process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL, start_new_session=True)
    judged = evaluated / "killed" / "judged.jsonl"
    for _ in range(6000):
        if judged.is_file() and len(judged.read_text().splitlines()) >= 4:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = judged.read_text().splitlines()
    assert 4 <= len(before) < 9
    with open(judged, "a", encoding="utf-8") as file:
        file.write('{"stamp": "[cut o')
    evaluate(evaluated, output="killed")
    after = judged.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == 9 + 1  # nothing was judged twice; the line that was cut off stands between
    plain = [json.loads(line) for line in (evaluated / "report" / "scores.jsonl").read_text().splitlines()]
    resumed = [json.loads(line) for line in (evaluated / "killed" / "scores.jsonl").read_text().splitlines()]
    for one, two in zip(plain, resumed, strict=True):
        assert (one["id"], one["system"], one["heard"]) == (two["id"], two["system"], two["heard"])
        assert one["sim_o"] == pytest.approx(two["sim_o"], abs=1e-5)
        assert one["dnsmos"] == pytest.approx(two["dnsmos"], abs=1e-4)


def test_what_has_changed_is_judged_again(evaluated: Path) -> None:
    changed = evaluated / "changed"
    shutil.copytree(evaluated / "report", changed)
    shutil.rmtree(changed / "codec")
    shutil.copytree(evaluated / "report" / "codec", changed / "codec")  # with new times
    evaluate(evaluated, output="changed")
    judged = (changed / "judged.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"]["system"] for line in judged[9:]] == ["codec"] * 3
    done = command("valle-eval", "compare", evaluated / "report", changed)
    assert "Other words were heard in 0 utterances" in done.stdout
    assert "| WER |" in done.stdout


def test_a_judge_with_other_weights_judges_again(tmp_path: Path) -> None:
    judged, weights = tmp_path / "judged.jsonl", tmp_path / "judge" / "model.bin"
    weights.parent.mkdir()
    for content, other in (("one", {}), ("two", {}), ("two", {"codec": "mini"})):
        judged.touch()
        weights.write_text(content)
        os.utime(weights, ns=(1, len(content) + (content == "two")))
        settings = {"recognizer": str(weights.parent), **other}
        _forget_other_settings(tmp_path, settings)
        assert judged.exists() == (content == "one")  # the first time there is nothing to compare with
        judged.touch()
        _forget_other_settings(tmp_path, settings)
        assert judged.exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["list.tsv", "nothing", "out"], "not there"),
        (["nolist.tsv", "wav", "out"], "nolist.tsv"),
        (["list.tsv", "wav", "out", "--codec", "nocodec"], "nocodec"),
        (["list.tsv", "wav", "out", "--recognizer", "norecogniser"], "norecogniser"),
        (["list.tsv", "wav", "out", "--batch-size", "0"], "--batch-size"),
        (["compare", "report", "out"], "scores.jsonl"),
        (["codec", "nothing", "out"], "nothing"),
        (["codec", "wav", "out", "--codebooks", "9"], "--codebooks 9"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(evaluated: Path, arguments: list[str], fault: str) -> None:
    done = command("valle-eval", *arguments, cwd=evaluated, check=False)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1
    assert fault in lines[0]
    assert not (evaluated / "out").exists()


def test_a_test_list_has_no_protocol(evaluated: Path) -> None:
    arguments = ["--data", evaluated / "list.tsv", "--output-dir", evaluated / "none", "--protocol", "reference"]
    done = command("valle-synth", *arguments, check=False)
    assert done.returncode == 2
    assert "a test list names its prompts" in done.stderr
    assert not (evaluated / "none").exists()
