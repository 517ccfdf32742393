"""Tables with their provenance in a RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from valle.evaluation.provenance import write_results


def test_results_file_keeps_its_other_sections(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    origin = {"recipe": "bash run.sh", "command": "valle-eval", "commit": "abc", "date": "d"}
    path.write_text("# mine\n\nbefore\n")
    write_results(path, "one", "| 1 |", origin)
    write_results(path, "two", "| 2 |", origin)
    write_results(path, "one", r"| \1 |", origin | {"commit": "def"})
    text = path.read_text()
    assert text.startswith("# mine\n\nbefore\n")
    assert text.index(r"| \1 |") < text.index("Commit def, d:") < text.index("| 2 |") < text.index("Commit abc, d:")
    assert "| 1 |" not in text
    assert "    bash run.sh\n    valle-eval\n" in text
