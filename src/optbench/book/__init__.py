"""The Apple Book's chapter 3, claim by claim, as experiments that can come out either way.

A claim is one overlay in conf/experiment/book/: the setting, and predictions written down before the run. `reproduce`
runs its sweeps, hands the records to the claim's module in `measures/`, holds what that finds against the predictions
and writes a verdict: supported, not supported, or depends. Pages and figures are made from these records.
"""

from optbench.book.claim import Arm, Claim, Prediction, choose, load_claims
from optbench.book.evidence import Evidence, Judgement, Verdict, judge, overall
from optbench.book.runner import book_folder, describe, read_records, reproduce, reproduced

__all__ = [
    "Arm",
    "Claim",
    "Evidence",
    "Judgement",
    "Prediction",
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
