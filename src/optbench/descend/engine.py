"""One entry: which engine, then run it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from optbench.descend.batch import Batch, BatchResult
from optbench.descend.eager import run_eager
from optbench.descend.plan import Plan, make_plan
from optbench.descend.rules import UnsupportedError
from optbench.descend.store import Store
from optbench.settings import SurfaceTrainer


def descend(batch: Batch) -> BatchResult:
    began = time.perf_counter()
    plan = make_plan(batch)
    store = Store(batch)
    run_eager(batch, plan, store)
    return store.result(batch, plan, time.perf_counter()-began, 0.0, "eager", "")
