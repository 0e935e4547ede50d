"""A comparison as LaTeX: a table with booktabs' rules for each sheet, to be put into a paper as it is.

The text is plain ASCII where the names are, and compiles with pdflatex, lualatex and xelatex; others need one of the
latter two. Names and reasons come from files that anyone may have written: every sign that TeX would obey is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from optbench.report.cells import Sheet
from optbench.report.verdicts import unfolded

_SPECIAL = MappingProxyType({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}",  # else an option of what stands before
})  # fmt: skip


def escaped(text: str) -> str:
    """The text as TeX prints it, sign by sign; line ends and tabs are blanks, other control signs are left out."""
    plain = " ".join(text.split())
    found = "".join(_SPECIAL.get(sign, sign) for sign in plain if sign.isprintable())
    while "--" in found:  # which TeX sets as a dash
        found = found.replace("--", "-{}-")
    return found


def latex_lines(found: Sequence[Sheet], notes: Sequence[str]) -> list[str]:
    """The sheets as tables of LaTeX, the best row bold, what cannot be told from it with a tilde.

    Args:
        found: as `sheets` gives them.
        notes: what stands below the last one, one sentence each.
    """
    lines = [line for sheet in found for line in (_on_pages if _is_long(sheet) else _on_one_page)(sheet)]
    if notes:
        lines += ["\\begin{itemize}", *(f"  \\item {escaped(note)}" for note in notes), "\\end{itemize}"]
    packages = ["{booktabs}", *["{longtable}"] * any(map(_is_long, found)), "{textcomp}", "[T1]{fontenc}"]
    needed = ["% needs " + ", ".join(f"\\usepackage{name}" for name in packages)]
    if any(ord(sign) > _LATIN for line in lines for sign in line):
        needed.append(
            "% some names are not in Latin letters: compile with xelatex or lualatex, and a font that has them"
        )
    return [*needed, *lines]


_MOST = 45
"""Lines of a table that go on a page; TeX cuts off what a float has more, with a warning in its log alone."""
_LATIN = 0x17F


def _is_long(sheet: Sheet) -> bool:
    return len(sheet.rows) + len(unfolded(sheet.lines)) > _MOST


def _on_one_page(sheet: Sheet) -> list[str]:
    """A float."""
    return [
        "\\begin{table}", "  \\centering", f"  \\caption{{{escaped(sheet.title)}}}",
        f"  \\begin{{tabular}}{{@{{}}{_columns(sheet)}@{{}}}}", *_head(sheet), *_body(sheet), "  \\end{tabular}",
        *(f"  \\par\\smallskip {escaped(line)}" for line in unfolded(sheet.lines)), "\\end{table}", "",
    ]  # fmt: skip


def _on_pages(sheet: Sheet) -> list[str]:
    """A table that is broken where a page ends, its header on each, and what stands below it as paragraphs."""
    return [
        f"\\begin{{longtable}}{{@{{}}{_columns(sheet)}@{{}}}}", f"    \\caption{{{escaped(sheet.title)}}} \\\\",
        *_head(sheet), "    \\endhead", *_body(sheet), "\\end{longtable}",
        *(f"\\par\\noindent {escaped(line)}" for line in unfolded(sheet.lines)), "",
    ]  # fmt: skip


def _columns(sheet: Sheet) -> str:
    return "".join("l" if i in sheet.words else "r" for i in range(len(sheet.header)))


def _head(sheet: Sheet) -> list[str]:
    return ["    \\toprule", f"    {_row(sheet.header)}", "    \\midrule"]


def _body(sheet: Sheet) -> list[str]:
    rows = [f"    {_marked(row, mark)}" for row, mark in zip(sheet.rows, sheet.marks, strict=True)]
    return [*rows, "    \\bottomrule"]


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\"


def _marked(row: Sequence[str], mark: str) -> str:
    """A row by its mark: bold where it is the best."""
    cells = [escaped(cell) for cell in row]
    if mark == "*":
        cells = [f"\\textbf{{{cell}}}" for cell in cells]
    elif mark.strip():
        cells[0] += f" {escaped(mark)}"
    return f"{' & '.join(cells)} \\\\"
