"""Models in the layout of the Hugging Face Hub: weights as safetensors, config.json and a model card."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valle.checkpoint import CODEC, export_model, find_checkpoint, load_model, model_directory
from valle.codec import BUNDLED as BUNDLED_CODECS
from valle.codec.merging import split_name
from valle.errors import UserError
from valle.files import write_text
from valle.optional import require

CONFIG = "config.json"
CARD = "README.md"
# Files of a codec folder.
_CODEC_FILES = ("codec.json", "codec.safetensors")


def export_hub(model: str | Path, directory: Path) -> list[Path]:
    """Write a model as a folder that `valle.load` reads and that can be pushed to the Hub.

    Args:
        model: Run directory, or name of a bundled model.
        directory: Folder to write, which is empty or does not exist.

    Returns:
        The files.

    Raises:
        UserError: There is no such model, or the folder holds files.
    """
    source = model_directory(model)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory}: is not an empty folder; give a new one")
    _, parameters = load_model(find_checkpoint(source, "ar"))
    export_model(source, directory, _provenance(source))
    codec, _ = split_name(str(parameters["codec"]))
    folder = BUNDLED_CODECS / codec if (BUNDLED_CODECS / codec).is_dir() else Path(codec)
    if folder.is_dir():
        (directory / CODEC).mkdir()
        for name in _CODEC_FILES:
            shutil.copyfile(folder / name, directory / CODEC / name)
    languages = list(parameters.get("languages") or [parameters["language"]])
    config: dict[str, Any] = {
        "model_type": "valle",
        "valle_version": version("valle"),
        "codec": str(parameters["codec"]),
        "group_size": parameters.get("group_size", 1),
        "languages": languages,
        "files": {"ar": "ar.safetensors", "nar": "nar.safetensors"},
    }
    write_text(directory / CONFIG, json.dumps(config, indent=2) + "\n")
    write_text(directory / CARD, _card(source, languages))
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _provenance(source: Path) -> dict[str, Any]:
    """Return what a model that was exported before tells about its training."""
    path = source / "ar.json"
    return json.loads(path.read_text(encoding="utf-8")).get("provenance", {}) if path.is_file() else {}


def _card(source: Path, languages: list[str]) -> str:
    """Return a model card: that of the model, or one that says how it is used."""
    tags = sorted({language.partition("-")[0] for language in languages})
    lines = ["---", "library_name: valle", "pipeline_tag: text-to-speech", "language:", *(f"- {tag}" for tag in tags)]
    own = source / CARD
    if own.is_file():
        lines.append("license: apache-2.0")
    front = "\n".join([*lines, "tags:", "- valle", "- text-to-speech", "- voice-cloning", "---", ""])
    usage = (
        "\n## Use\n\n    pip install valle\n\n```python\nimport valle\n\n"
        'tts = valle.load("ORGANIZATION/NAME", download=True)  # or the path of this folder\n'
        'tts.synthesize("Hello there.", prompt="3s.wav").save("hello.wav")\n```\n'
    )
    text = own.read_text(encoding="utf-8") if own.is_file() else "# Model card\n\nA codec language model, by valle.\n"
    return front + text + usage


def push(directory: Path, repository: str, *, private: bool = False) -> str:
    """Upload an exported folder to the Hub, with the login of `hf auth login` or $HF_TOKEN.

    Args:
        directory: What `export_hub` wrote.
        repository: ORGANIZATION/NAME, which is created where it does not exist.
        private: Whether a new repository is private.

    Returns:
        Address of the commit.

    Raises:
        UserError: The folder is no exported model, nobody is logged in, or the Hub refuses.
    """
    hub = require("huggingface_hub", "hub")
    if not (directory / CONFIG).is_file():
        raise UserError(f"{directory}: holds no {CONFIG}; write it with: valle-export hf {directory}")
    if repository.count("/") != 1:
        raise UserError(f"repository {repository!r}: write it as ORGANIZATION/NAME")
    if hub.get_token() is None:
        raise UserError("nobody is logged in at the Hub; run hf auth login, or set HF_TOKEN")
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        info = api.upload_folder(repo_id=repository, folder_path=directory, commit_message="Add the model")
    except Exception as error:
        # The library raises errors of many kinds, of its own and of its HTTP client.
        raise UserError(f"{repository}: {' '.join(str(error).split())[:200]}") from error
    return str(info.commit_url)
