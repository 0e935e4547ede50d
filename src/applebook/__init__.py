"""The Apple Book's chapter 3, claim by claim, as experiments that can come out either way.

A claim is one overlay in conf/experiment/book/: the setting, and predictions written down before the run. `reproduce`
runs its sweeps, hands the records to the claim's module in `measures/`, holds what that finds against the predictions
and writes a verdict: supported, not supported, or depends. Pages and figures are made from these records.
"""

from __future__ import annotations

from typing import Any

__all__ = ["reproduce"]


def reproduce(*wanted: str | int, **options: Any) -> list[dict[str, Any]]:
    """Runs claims of the book's chapter 3 as experiments and judges each; see `runner.reproduced` for the options.

    Returns:
        One record a claim, as in its claim.json: `id, number, verdict, predictions` and more. Fewer when stopped.
    """
    from applebook.runner import reproduced

    return list(reproduced(wanted, **options))
