"""What it costs to read many runs: whole processes of `optbench compare` and `optbench plot`, imports and all.

    python benchmarks/results.py            # 2,500 and 10,000 folders; tables of 250,000 and 1,000,000 rows, and
                                            # tables of 2,500 and 10,000 configurations with ten runs each
    python benchmarks/results.py --quick    # a quarter of each
    python benchmarks/results.py --write    # and benchmarks/results/results.md
    python benchmarks/results.py --options  # every option of `compare` over 10,000 folders, against none
    python benchmarks/results.py --options --write  # and benchmarks/results/options.md

The folders are copies of real runs, one an optimizer and learning rate, each under the identity and the seed of a
planned run and with losses of its own; so are the rows of the table, of which the first of each optimizer have a curve
as a sweep keeps it. Peak memory is the process's own ru_maxrss.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Heavy modules are imported by the processes that make the runs: on Linux the peak memory of a child begins with what
# its parent had when it was started, so this process stays small.
NAME = ".optbench-index.json"
KINDS = ("model=rosenbrock", "optimizer=sgd,momentum,rmsprop,adam",
         "optimizer.lr=1e-4,3e-4,1e-3,3e-3,1e-2,3e-2,1e-1,3e-1,1,3", "trainer.start=random", "trainer.steps=50",
         "trainer.target=1e-3")  # fmt: skip
TIMES = 5


def made_up(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """A run's summary with numbers of its own: one in ten diverged, one in ten reached its target."""
    from optbench.records import Status

    fate = rng.random()
    loss = None if fate < 0.1 else 10.0 ** rng.uniform(-6, 2)
    steps = rng.randrange(1, row["steps"] + 1) if fate < 0.2 else row["steps"]
    status = Status.DIVERGED if fate < 0.1 else Status.TARGET_REACHED if fate < 0.2 else Status.COMPLETED
    hit = steps if status is Status.TARGET_REACHED else None
    return row | {"status": status.value, "final_loss": loss, "best_loss": loss, "steps": steps, "evals": steps,
                  "steps_to_target": hit, "seconds": row["seconds"] * rng.uniform(0.5, 2)}  # fmt: skip


def make_folders(place: Path, count: int, samples: Path) -> None:
    """A sweep of `count` run folders."""
    from optbench.experiment import Stop, plan_sweep, run_and_record
    from optbench.records import part_sums
    from optbench.records.seal import sealed

    rng = random.Random(count)
    kinds = {}
    for planned in plan_sweep([*KINDS, "seed=0"], out=samples):
        run = run_and_record(planned, Stop(), threads=1)
        assert run.path is not None
        kinds[planned.label.replace(" seed=0", "")] = (dict(run.summary), (run.path / "metrics.csv").read_bytes())
    plan = plan_sweep([*KINDS, f"seed=range({-(-count // len(kinds))})"], out=place, name="folders")
    for planned in list(plan)[:count]:
        summary, curve = kinds[planned.label.replace(f" seed={planned.config['seed']}", "")]
        row = made_up(rng, summary) | {"run_id": planned.run_id, "seed": planned.config["seed"], "sweep": "folders"}
        planned.folder.mkdir(parents=True)
        (planned.folder / "config.yaml").write_text(_yaml(planned.config, samples))
        (planned.folder / "metrics.csv").write_bytes(curve)
        provenance = {k: v for k, v in row["provenance"].items() if k != "checksum"}
        row["provenance"] = {**provenance, "files": part_sums(planned.folder)}
        (planned.folder / "run.json").write_text(sealed(json.dumps(row, indent=2))[0])
        (planned.folder / ".lock").touch()


_TEXTS: dict[str, str] = {}


def _yaml(config: Mapping[str, Any], scratch: Path) -> str:
    # through the project's own writer once a configuration; the seed alone differs within one
    from optbench.records import write_yaml

    key = json.dumps({k: v for k, v in config.items() if k != "seed"})
    if key not in _TEXTS:
        write_yaml(scratch / "config.yaml", {**config, "seed": -1})
        _TEXTS[key] = (scratch / "config.yaml").read_text()
    return _TEXTS[key].replace("\nseed: -1\n", f"\nseed: {config['seed']}\n")


def make_table(place: Path, count: int, samples: Path) -> None:
    """A sweep's tables with `count` rows, of the columns that a sweep of rows writes."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    source = samples / "sweeps" / "rows" / "runs.parquet"
    if not source.exists():
        words = ["sweep", *KINDS, "seeds=20", "--name", "rows", "--out", str(samples / "sweeps"), "--quiet"]
        subprocess.run([sys.executable, "-m", "optbench", *words], check=True, capture_output=True)
    small = parquet.read_table(source)
    rng = np.random.default_rng(count)
    whole = small.take(pa.array(np.sort(np.arange(count) % len(small))))  # all runs of a configuration side by side
    fate, steps = rng.random(count), whole["steps"].to_numpy()
    ended = np.where(fate < 0.2, np.minimum(steps, rng.integers(1, 51, count)), steps)
    loss = pa.array(10.0 ** rng.uniform(-6, 2, count), mask=fate < 0.1)
    status = np.select([fate < 0.1, fate < 0.2], ["diverged", "target_reached"], "completed")
    reasons = {"diverged": "the loss is beyond its bound", "target_reached": "target met", "completed": "all updates"}
    new = {
        "run_id": [f"{i:012x}" for i in rng.choice(2**47, count, replace=False)],
        "status": status,
        "reason": [f"{reasons[s]} ({n})" for s, n in zip(status.tolist(), ended.tolist(), strict=True)],
        "seed": np.arange(count),
        "steps": ended,
        "evals": ended,
        "seconds": rng.uniform(1e-4, 2e-4, count),
        "final_loss": loss,
        "best_loss": loss,
        "best_step": pa.array(ended, mask=fate < 0.1),
        "final_grad_norm": pa.array(rng.lognormal(size=count), mask=fate < 0.1),
        "steps_to_target": pa.array(ended, mask=(fate < 0.1) | (fate >= 0.2)),
        "lambda_min": pa.array(rng.normal(size=count), mask=fate < 0.1),
    }
    for name, values in new.items():
        whole = whole.set_column(whole.column_names.index(name), name, pa.array(values))
    place.mkdir(parents=True)
    _write(whole, place / "runs.parquet")
    _make_curves(place, whole, parquet.read_table(source.with_name("curves.parquet")))


def _make_curves(place: Path, runs: Any, curves: Any) -> None:
    """The curves of the first runs of each optimizer: copies of those of a sweep."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    patterns = curves["run_id"].unique()
    for optimizer in runs["optimizer"].unique().to_pylist():
        first = runs["run_id"].filter(pc.equal(runs["optimizer"], optimizer)).slice(0, 20).to_pylist()
        for run_id in first:
            curve = curves.filter(pc.equal(curves["run_id"], patterns[len(parts) % len(patterns)]))
            at = curve.column_names.index("run_id")
            parts.append(curve.set_column(at, "run_id", pa.array([run_id] * len(curve))))
    _write(pa.concat_tables(parts), place / "curves.parquet")


def _write(table: Any, path: Path) -> None:
    """A table as a sweep writes it, with its checksum."""
    import io

    from pyarrow import parquet

    from optbench.records.seal import sealed_table

    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    path.write_bytes(b"".join(sealed_table(buffer.getbuffer())))


def make_groups(place: Path, count: int, samples: Path) -> None:
    """A sweep's tables with `count` configurations of ten runs each: learning rates drawn at random."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    make_table(place, 10 * count, samples)
    whole = parquet.read_table(place / "runs.parquet")
    rates = np.repeat(10.0 ** np.random.default_rng(count).uniform(-4, 0, count), 10)
    whole = whole.set_column(whole.column_names.index("optimizer.lr"), "optimizer.lr", pa.array(rates))
    _write(whole, place / "runs.parquet")


BASE = "adam lr=0.1"
OPTIONS: Sequence[Sequence[str]] = (
    ("--filter", "optimizer=adam"), ("--group-by", "optimizer"), ("--group-by", "optimizer", "--tune-seeds", "0..2"),
    ("--group-by", "optimizer", "--pool"), ("--sort", "steps"), ("--metric", "best_loss"), ("--alpha", "0.01"),
    ("--pairs",), ("--baseline", BASE), ("--equivalent-within", "0.01"), ("--anytime",), ("--anytime", "--pairs"),
    ("--anytime", "--json"), ("--anytime", "--explain"), ("--cost", "evals"), ("--cost", "evals", "--spread", "0.01"),
    ("--target", "1,0.1"), ("--budget", "40evals"), ("--score", "share_of_cost"), ("--score", "lr_sensitivity"),
    ("--score", "certified_gain", "--step-worth", "1e-4"), ("--checkpoint", "last"), ("--curves",), ("--csv",),
    ("--json",), ("--md",), ("--latex",), ("--parquet",), ("--html", "PAGE"), ("--html", "PAGE", "--worst", "0"),
    ("--html", "PAGE", "--lang", "zh"), ("--metric", "steps"), ("--cost", "seconds"),
    ("--cost", "evals", "--budget", "40evals", "--anytime", "--score", "share_of_cost,lr_sensitivity"),
    ("--cost", "evals", "--budget", "40evals", "--anytime", "--pairs", "--json"),
    ("--cost", "evals", "--anytime", "--html", "PAGE"),
)  # fmt: skip
"""Every option of `compare` at least once, and some together. Scores over several problems are not among them: here is
one."""
ELSEWHERE = {"--config-dir", "--help"}
"""Options that say where configurations are, and what there is."""


def measure_options(scratch: Path, count: int, times: int) -> str:
    """Seconds of the processor of each option, and how many more than without any, as Markdown; medians.

    Raises:
        AssertionError: an option of `compare` is not among those that are measured.
    """
    words = [sys.executable, "-m", "optbench", "compare", "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    missing = set(re.findall(r"(?<= )--(?!no-)[a-z-]+(?=[ \n])", told.partition("Options:")[2]))
    missing -= {word for one in OPTIONS for word in one} | ELSEWHERE
    assert not missing, f"not measured: {missing}"
    place = scratch / "options"
    made("folders", place, count, scratch / "samples")
    time.sleep(3)  # files that were just written are not put into the index
    lines, plain = [], None
    for option in ((), *OPTIONS):
        given = [str(scratch / "page.html") if word == "PAGE" else word for word in option]
        wall, cpu, _ = timed(["compare", str(place), *given], times=times)
        print(" ".join(option) or "none", f"{statistics.median(cpu):.2f}", file=sys.stderr, flush=True)
        took, waited = statistics.median(cpu), statistics.median(wall)
        plain = plain or (took, waited)
        lines.append(f"| {' '.join(option) or 'none'} | {waited:.2f} | {waited - plain[1]:+.2f} "
                     f"| {took:.2f} | {took - plain[0]:+.2f} |")  # fmt: skip
    head = [
        f"`optbench compare` of {count:,} run folders (40 configurations, {-(-count // 40)} seeds), index warm; "
        f"{machine()}; medians of {times}, one run",
        "", "| option | s | above none | CPU, s | above none |", "|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    return "\n".join([*head, *lines]) + "\n"


@dataclass
class Row:
    """One line of the table: seconds of the clock and of the processor, and MB."""

    what: str
    size: int
    wall: list[float]
    cpu: list[float]
    peak: float


def timed(
    words: Sequence[str], prepare: Callable[[], None] = lambda: None, times: int = TIMES
) -> tuple[list[float], list[float], float]:
    """Wall and CPU seconds of a command, `times` times after a first one, and its largest peak memory in MB.

    Python keeps its bytecode, as where optbench is installed, whatever is set here.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "optbench", *words]
    wall, cpu, peak = [], [], 0.0
    for i in range(times + 1):
        prepare()
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        assert child.stdout is not None
        child.stdout.read()
        _, code, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        assert code == 0, f"exit code {os.waitstatus_to_exitcode(code)}: {' '.join(command)}"
        peak = max(peak, used.ru_maxrss / 1024)
        if i:
            wall.append(seconds)
            cpu.append(used.ru_utime + used.ru_stime)
    return wall, cpu, peak


def made(kind: str, place: Path, count: int, samples: Path) -> None:
    """Makes folders or tables in a process of its own."""
    subprocess.run([sys.executable, __file__, "--make", kind, str(place), str(count), str(samples)], check=True)


def measure(scratch: Path, sizes: Sequence[tuple[int, int]], times: int) -> list[Row]:
    found = []
    samples = scratch / "samples"
    for folders, rows in sizes:
        place = scratch / f"f{folders}"
        made("folders", place, folders, samples)
        time.sleep(3)  # files that were just written are not put into the index
        found.append(Row("run folders, index warm", folders, *timed(["compare", str(place)], times=times)))
        index = place / NAME
        assert index.exists()

        def forget(index: Path = index) -> None:
            index.unlink(missing_ok=True)

        found.append(Row("run folders, no index yet", folders, *timed(["compare", str(place)], forget, times)))
        table = scratch / f"t{rows}"
        made("table", table, rows, samples)
        found.append(Row("rows of a table", rows, *timed(["compare", str(table)], times=times)))
        words = ["plot", str(table), "-o", str(scratch / "curves.png")]
        found.append(Row("`optbench plot` of the rows of a table", rows, *timed(words, times=times)))
        groups = scratch / f"g{folders}"
        made("groups", groups, folders, samples)
        found.append(Row("configurations of ten rows each", folders, *timed(["compare", str(groups)], times=times)))
    return sorted(found, key=lambda row: row.what)


def machine() -> str:
    """Where this was measured."""
    from optbench.experiment.provenance import processor
    from optbench.launch.base import available_cores

    load = f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    return f"{processor()}, {available_cores()} cores, {load}; whole process, files in the system's cache"


def report(rows: Sequence[Row]) -> str:
    """The table, as Markdown."""
    lines = [
        machine(),
        "",
        "| `optbench compare` of, unless said | size | median, s | least, s | CPU, s | peak memory, MB |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {r.what} | {r.size:,} | {statistics.median(r.wall):.2f} | {min(r.wall):.2f} "
            f"| {statistics.median(r.cpu):.2f} | {r.peak:.0f} |"
            for r in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the runs, fewer times")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/results.md, or options.md")
    parser.add_argument("--options", action="store_true", help="every option of compare, instead")
    parser.add_argument("--make", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        kind, place, count, samples = given.make
        {"folders": make_folders, "table": make_table, "groups": make_groups}[kind](
            Path(place), int(count), Path(samples)
        )
        return
    part = 4 if given.quick else 1
    sizes = [(2_500 // part, 250_000 // part), (10_000 // part, 1_000_000 // part)]
    if given.options:
        with tempfile.TemporaryDirectory() as folder:
            text = measure_options(Path(folder), 10_000 // part, 1 if given.quick else 3)
        print(text)
        if given.write:
            (Path(__file__).parent / "results" / "options.md").write_text(text)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = report(measure(Path(folder), sizes, 3 if given.quick else TIMES))
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "results.md").write_text(text)


if __name__ == "__main__":
    main()
