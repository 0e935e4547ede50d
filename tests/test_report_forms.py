"""A comparison as LaTeX and as Parquet: whole, escaped, and the same numbers as in the other forms."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run

from optbench.comparison import Comparison, compare
from optbench.report import Sheet, export, parquet_bytes
from optbench.report.latex import escaped, latex_lines

HOSTILE = ["\\input{/etc/passwd}", "50 % & more", "a_b^c", "[x]", "--", "'q' \"q\"", "$x$", "~<>|`{}#", "\x1b[31m"]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    for seed, loss in enumerate([1.25e-7, 0.5, 3.0]):
        make_run(tmp_path / f"good{seed}", {"seed": seed}, final_loss=loss, best_loss=loss)
        make_run(tmp_path / f"bad{seed}", {"seed": seed, "optimizer.lr": 5.0}, status="diverged")
    return compare(tmp_path)


def document(lines: list[str]) -> str:
    packages = "\\usepackage{booktabs}\\usepackage{longtable}\\usepackage{textcomp}\\usepackage[T1]{fontenc}"
    return "\n".join(["\\documentclass{article}", packages, "\\begin{document}", *lines, "\\end{document}"])


def cells_of(lines: list[str]) -> list[list[str]]:
    rows = [line.strip().removesuffix(" \\\\") for line in lines if line.endswith(" \\\\")]
    return [re.split(r"(?<!\\) & ", row) for row in rows]


def test_every_row_has_a_cell_for_every_column(comparison: Comparison) -> None:
    lines = export(comparison, "latex").splitlines()
    (columns,) = [match[1] for line in lines if (match := re.search(r"\{@\{\}([lr]+)@\{\}\}", line))]
    table = cells_of(lines)
    assert {len(row) for row in table} == {len(columns)}
    assert len(table) == 1 + len(comparison.groups)
    assert table[1][0].startswith("\\textbf{")
    for name in ("table", "tabular", "itemize"):
        assert sum(f"\\begin{{{name}}}" in line for line in lines) == sum(f"\\end{{{name}}}" in line for line in lines)


def test_a_table_that_is_longer_than_a_page_is_broken_and_signs_that_pdflatex_has_not_are_told() -> None:
    def of(rows: int, lines: int, name: str = "a") -> list[str]:
        sheet = Sheet("t", ("name", "n"), ((name, "1"),) * rows, (False,) * rows, lines=("x and y: the same",) * lines)
        return latex_lines([sheet], [])

    for rows, lines in ((3, 4), (46, 0), (3, 50)):
        found = of(rows, lines)
        long = rows + lines > 45
        kind = "longtable" if long else "table"
        assert any(f"\\begin{{{kind}}}" in line for line in found)
        assert ("{longtable}" in found[0]) == long
        assert ("    \\endhead" in found) == long
        assert len(cells_of(found)) == 1 + rows + long  # the caption is a row of a longtable
        assert sum("the same" in line for line in found) == lines
    assert not any("xelatex" in line for line in of(3, 0, "é"))
    assert "xelatex" in of(3, 0, "优化器")[1]


@given(st.text())
def test_no_sign_is_obeyed(text: str) -> None:
    found = escaped(text)
    bare = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\{[][]\}|-\{\}", "", found)
    assert not set(bare) & set("\\&%$#_{}~^<>|\"'`[]"), bare
    assert "--" not in found
    assert all(sign.isprintable() for sign in found)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_what_is_printed_is_what_was_written(text: str) -> None:
    """Undoing each escape gives the text again, with its blanks as one."""
    back = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<",
            r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"\textquotesingle{}": "'",
            r"\textasciigrave{}": "`", "{[}": "[", "{]}": "]", "-{}-": "--"}  # fmt: skip
    pattern = "|".join([*map(re.escape, back), r"\\[&%$#_{}]"])
    once = re.sub(pattern, lambda m: back.get(m[0], m[0][-1]), escaped(text).replace("-{}-{}-", "---"))
    assert once.replace("-{}", "-") == " ".join(text.split())


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex here (apt-get install texlive-latex-recommended)"
)
def test_it_compiles_with_hostile_names(comparison: Comparison, tmp_path: Path) -> None:
    rows = tuple((name, "1", name, "[0.1, 2]") for name in HOSTILE)
    marks = (True, *[False] * (len(rows) - 2), False)
    sheet = Sheet("[title] " + " ".join(HOSTILE), ("name", "n", "status", "loss"), rows, marks, (), tuple(HOSTILE))
    long = replace(sheet, rows=rows * 9, best=marks * 9)
    text = document([*export(comparison, "latex").splitlines(), *latex_lines([sheet, long], HOSTILE)])
    (tmp_path / "paper.tex").write_text(text)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists()


def test_parquet_has_what_csv_has(comparison: Comparison) -> None:
    frame = pd.read_parquet(io.BytesIO(parquet_bytes(comparison)))
    rows = list(csv.DictReader(io.StringIO(export(comparison, "csv"))))
    assert list(frame.columns) == list(rows[0])
    for name in frame.columns:
        for value, text in zip(frame[name], [row[name] for row in rows], strict=True):
            if text == "":
                assert value is None or value != value
            elif isinstance(value, float):
                assert value == float(text)
            else:
                assert str(value) == text
    assert math.isinf(frame["final_loss"].max())
    assert frame["final_loss"].dtype == "float64"
    assert frame["n"].dtype == "int64"


def test_the_same_runs_are_the_same_bytes(comparison: Comparison) -> None:
    assert parquet_bytes(comparison) == parquet_bytes(comparison)
    assert export(comparison, "latex") == export(comparison, "latex")


def test_the_command_writes_one_form(
    comparison: Comparison, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from command_tools import command

    assert command("compare", tmp_path, "--parquet") == 0
    assert pd.read_parquet(io.BytesIO(capfdbinary.readouterr().out))["n"].tolist() == [3, 3]
    assert command("compare", tmp_path, "--latex") == 0
    assert capfdbinary.readouterr().out.decode() == export(comparison, "latex")


def test_two_forms_are_refused(comparison: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = invoke(capsys, "compare", tmp_path, "--latex", "--parquet")
    assert (code, out) == (2, "")
    assert "--latex and --parquet: choose one form" in err
