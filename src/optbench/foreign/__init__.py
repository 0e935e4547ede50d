"""Logs that other tools wrote, as records: what compare, plot and power read then knows nothing of where it came from.

    files --readers--> Log (raw cells by step, hyperparameters) --columns, settings--> record (sealed, marked imported)

A log tells less than a record. What it does not tell is null (engine, device, seconds) or said to be unknown (model,
optimizer), never guessed; which column was read as which is said, and so is every column that was not used.
"""

from optbench.foreign.bring import Brought, Wishes, bring

__all__ = ["Brought", "Wishes", "bring"]
