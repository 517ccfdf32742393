"""Tables of metrics."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.evaluation.conftest import SCORE
from valle.evaluation.metrics import summary
from valle.evaluation.tables import latex, markdown


def test_every_row_has_one_cell_per_column() -> None:
    table = summary(
        [replace(SCORE, id=str(i), word_errors=i, system=s) for i in range(3) for s in ("codec", "synthesized")]
    )
    rows = [line for line in markdown("100 % of_it", table).splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows[:4]} == {rows[0].count("|")}
    assert "10.0% (0.0%, 20.0%)" in rows[2]
    assert "| DNSMOS P.835 | DNSMOS P.808 |" in rows[0]
    assert "| 3.00 (3.00, 3.00) | 3.50 (3.50, 3.50) |" in rows[2]
    document = latex("100 % of_it", table)
    assert r"100 \% of\_it" in document
    assert "DNSMOS P.835 & DNSMOS P.808" in document
    body = [line for line in document.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body[:3]} == {7}
    assert document.count(r"\begin{table}") == document.count(r"\end{table}") == 2
    assert not re.search(r"(?<!\\)[%_](?! needs)", document.split("\n", 1)[1])
