"""The certified enumerator: every critical point of a surface in a box, by interval arithmetic, with proof."""

from __future__ import annotations

from optbench.critical.certified.certify import DEPTH, MAX_BOXES, certify

__all__ = ["DEPTH", "MAX_BOXES", "certify"]
