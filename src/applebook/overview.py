"""The command `reproduce` as optbench's overview names it, apart from what it does: `optbench --help` reads this alone.

The entry point `optbench.commands` in pyproject.toml names it.
"""

from optbench.cli import Command

REPRODUCE = Command("reproduce", "Run and judge the book's claims.", "applebook.command:reproduce", goes_on=True)
