"""What makes a batch of rows: the node `collate` of a configuration.

Where rows are stacked as they are (`collate=stack`, the default) the configuration has no such node, as it had none
before there were others.
"""

from __future__ import annotations

from typing import Any

GROUP = "collate"


def settle(plain: dict[str, Any]) -> None:
    """Brings a composed configuration to the one form in which it is recorded: of stacked rows neither the node nor the
    choice is there.

    Args:
        plain: the configuration, with its choices.
    """
    if plain[GROUP].get("_target_") is None:
        plain.pop(GROUP)
        plain["choices"].pop(GROUP, None)
