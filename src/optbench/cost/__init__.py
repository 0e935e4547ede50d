"""What an optimizer costs on a network: memory and time of its updates, each optimizer in a process of its own.

measure   in that process: the updates, their times, the bytes of the state and of the peak
rows      configurations to rows, one process after another; a row that fails has a reason
table     the rows as the table people hand in, as CSV, JSON and Markdown
"""

from optbench.cost.measure import Measured, state_bytes
from optbench.cost.rows import Row, cost_rows, plan_costs
from optbench.cost.table import csv_text, json_rows, markdown_text, text_lines

__all__ = [
    "Measured",
    "Row",
    "cost_rows",
    "csv_text",
    "json_rows",
    "markdown_text",
    "plan_costs",
    "state_bytes",
    "text_lines",
]
