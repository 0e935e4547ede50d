"""Comparisons and runs in words: for the terminal, for a pipe, and as CSV, JSON and Markdown.

Every form shows the same cells, made once in `cells`; the rule behind a number stands below it.
"""

from optbench.report.cells import Sheet
from optbench.report.export import FORMATS, export, parquet_bytes
from optbench.report.run import run_lines, sparkline
from optbench.report.stream import runs_json
from optbench.report.tables import (
    COVERING,
    aligned,
    covering_less,
    footnotes,
    print_comparison,
    text_lines,
    unreadable_lines,
)
from optbench.statistics.numbers import interval, number, percent

__all__ = [
    "COVERING",
    "FORMATS",
    "Sheet",
    "aligned",
    "covering_less",
    "export",
    "footnotes",
    "interval",
    "number",
    "parquet_bytes",
    "percent",
    "print_comparison",
    "run_lines",
    "runs_json",
    "sparkline",
    "text_lines",
    "unreadable_lines",
]
