"""The Apple Book's chapter 3, claim by claim, as experiments that can come out either way.

A claim is one overlay in conf/experiment/book/: the setting, and predictions written down before the run. `reproduce`
runs its sweeps, hands the records to the claim's module in `measures/`, holds what that finds against the predictions
and writes a verdict: supported, not supported, or depends. Pages and figures are made from these records.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from applebook.claim import Arm, Claim, Prediction, choose, load_claims
    from applebook.evidence import Evidence, Judgement, Verdict, judge, overall
    from applebook.runner import book_folder, describe, read_records, reproduce, reproduced
    from applebook.study import Findings, Study

_HOMES = {
    "claim": ("Arm", "Claim", "Prediction", "choose", "load_claims"),
    "evidence": ("Evidence", "Judgement", "Verdict", "judge", "overall"),
    "runner": ("book_folder", "describe", "read_records", "reproduce", "reproduced"),
    "study": ("Findings", "Study"),
}

__all__ = [
    "Arm",
    "Claim",
    "Evidence",
    "Findings",
    "Judgement",
    "Prediction",
    "Study",
    "Verdict",
    "book_folder",
    "choose",
    "describe",
    "judge",
    "load_claims",
    "overall",
    "read_records",
    "reproduce",
    "reproduced",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"applebook.{home}"), name)
    raise AttributeError(f"module 'applebook' has no attribute {name!r}")
