"""Do the tests notice when the source is wrong? Small changes, one at a time, each against the tests that execute it.

    python benchmarks/mutants                    # 300 mutants, an hour of two cores at most
    python benchmarks/mutants --count 40 --only loop,metrics
    python benchmarks/mutants --survivors mutants.json --out after.json    # are those noticed now?
    python benchmarks/mutants --keep DIR         # what the tests execute is measured once and kept there

First every test file runs once under coverage.py, and it is noted which test executes which line. Then each mutant runs
the tests that execute its line, until one fails: the mutant is *killed*. One that takes 8 times the CPU time of the
unmutated tests and 15 s is *timed out* and counts as killed. Those that survive are tried again with more tests while
there is time. The changes are cosmic-ray's; its runner is not used, since it changes the user's files and starts Python
anew for each mutant, which loading torch makes slow. docs/mutants.md lists survivors and why they live.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from covering import Chosen, Covering, stamps
from draw import AREAS, Mutant, again, sample
from house import PATIENCE, START, House, built, in_fork, load_libraries
from watch import Watch, Witness

ROOT = Path(__file__).resolve().parents[2]
NOT_ASKED = """architecture bifurcation book chinese cli config crew data docs explore homework images language launch
    mutants notebook nursery packaging plot public site streams surfaces_truth vision""".split()  # noqa: SIM905
"""Test files that look at pages, pictures, packages, configuration and other processes, not at the areas."""
FIRST_MEASURED = set(
    """comparison critical curvature descend identity loop metrics optimizers records tracing""".split()  # noqa: SIM905
)
"""Folders of tests and test files of the areas themselves: measured first, since time may not be enough for all."""
NEEDS_FRESH_KERNELS = ("descend/", "optimizers/", "optimizer_base", "problem/")
"""Where a mutant is, the kernels and agreements kept by the unmutated tree would hide it."""
CONTROLS = 4
"""Unmutated trials: a test that fails in them would make every kill doubtful."""
MEASURING = 300.0  # CPU seconds that one test file may take under coverage
MEASURED = 0.4  # of the time; test files that are not measured by then are not used
_NOT_FOUND = (4, 5)  # pytest's exit codes for a name that no test has
FIRST = 0.8  # of the time; what is left is for the survivors
AGAIN = 5.0  # times the budget, for survivors

Choose = Callable[[set[str], float], list[Chosen]]
_house: House


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: killed, timed out or survived; by which test; how its line is executed."""

    mutant: Mutant
    word: str
    by: str
    executed: str
    tests: int
    seconds: float


def _settle(source: Path, work: Path, keep: Path, number: Any) -> None:
    global _house
    with number.get_lock():
        number.value += 1
        mine = number.value
    _house = built(source, work / str(mine), keep / "kernels")


def _measure(test_file: str, to: Path) -> str:
    """Runs one test file unmutated under coverage; empty, or why there is nothing to be had from it."""
    watch = Watch(_house.package, to)

    ended = in_fork(_house, [test_file, "--maxfail=1000"], [watch], MEASURING, keep_kernels=True)
    kernels = _house.root / "scratch" / "cache"
    if kernels.exists():
        shutil.copytree(kernels, _house.kernels, dirs_exist_ok=True)
    if ended.code not in (0, 1, 5) or not to.exists():
        return f"{test_file} (code {ended.code}): " + " | ".join(ended.words.strip().splitlines()[-2:])
    failed = [line.removeprefix("FAILED ") for line in ended.words.splitlines() if line.startswith("FAILED ")]
    return (
        "\n             ".join([f"{len(failed)} of {test_file} failed and are not used", *failed[:5]]) if failed else ""
    )


def _try(mutant: Mutant, chosen: Sequence[Chosen], executed: str) -> Outcome:
    """Runs the chosen tests on the mutant, file by file, until one fails."""
    place = _house.package / mutant.file
    before = place.read_bytes()
    began, ran = time.monotonic(), 0
    outcome = Outcome(mutant, "survived", "", executed, 0, 0.0)
    fresh = mutant.file.startswith(NEEDS_FRESH_KERNELS)
    try:
        place.write_text(mutant.source, "utf-8")
        for _, tests, seconds in chosen:
            witness = _house.root / "witness.txt"
            witness.unlink(missing_ok=True)
            ended = in_fork(_house, tests, [Witness(witness)], PATIENCE * seconds + START, keep_kernels=not fresh)
            if ended.code in _NOT_FOUND:  # the mutant gives parametrized tests other names
                functions = list(dict.fromkeys(test.split("[")[0] for test in tests))
                ended = in_fork(_house, functions, [Witness(witness)], PATIENCE * seconds + START, not fresh)
            ran += len(tests)
            if ended.code != 0:
                name = witness.read_text() if witness.exists() else (ended.words.strip().splitlines() or ["?"])[-1]
                outcome = replace(outcome, word="timed out" if ended.code is None else "killed", by=name)
                break
    finally:
        place.write_bytes(before)
    return replace(outcome, tests=ran, seconds=time.monotonic() - began)


def main() -> None:
    given = _given()
    began = time.monotonic()
    deadline = began + 60.0 * given.minutes
    if given.survivors:
        earlier = [
            outcome for outcome in json.loads(given.survivors.read_text())["outcomes"] if outcome["word"] == "survived"
        ]
        mutants = again(ROOT / "src" / "optbench", [outcome["mutant"] for outcome in earlier])
        places = Counter(mutant.area for mutant in mutants)
    else:
        mutants, places = sample(ROOT / "src" / "optbench", given.count, given.seed, given.only)
    print(f"{len(mutants)} mutants from {sum(places.values()):,} places, seed {given.seed}", flush=True)
    load_libraries()
    found: dict[Mutant, Outcome] = {}
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="optbench-mutants-") as folder:
        context = multiprocessing.get_context("fork")
        keep = given.keep or Path(folder) / "keep"
        settle = (ROOT, Path(folder), keep, context.Value("i", 0))
        with ProcessPoolExecutor(given.processes, context, _settle, settle) as pool:
            until = began + MEASURED * (deadline - began)
            covering = _measured(pool, keep, given.tests, until)
            for kernels in Path(folder).glob("*/kernels"):
                if kernels.parent != keep:  # which lies in the same folder unless it was given
                    shutil.copytree(kernels, keep / "kernels", dirs_exist_ok=True)
            _control(pool, covering, mutants, given.budget)
            few = partial(_tests_of, covering, covering.chosen, budget=given.budget)
            save = partial(_saved, given.out, given.seed, places)
            _try_all(pool, mutants, few, began + FIRST * (deadline - began), found, given.processes, save)
            alive = [outcome.mutant for outcome in found.values() if outcome.word == "survived"]
            print(f"{len(alive)} survivors against more tests", flush=True)
            more = partial(_tests_of, covering, covering.every_case, budget=AGAIN * given.budget)
            _try_all(pool, alive, more, deadline, found, given.processes, save)
    _report(list(found.values()), places, given, time.monotonic() - began)


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="drawn, and said, by default"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="measuring included; no mutant starts later")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--budget", type=float, default=20.0, help="CPU seconds of tests a mutant, unmutated")
    parser.add_argument("--only", type=lambda words: words.split(","), help=f"areas, with commas: {', '.join(AREAS)}")
    parser.add_argument(
        "--tests",
        type=lambda words: words.split(","),
        default=["test_*.py"],
        help="test files that may be run, patterns with commas",
    )
    parser.add_argument("--keep", type=Path, help="folder for what the tests execute")
    parser.add_argument("--survivors", type=Path, help="no draw: the survivors in this FILE of an earlier session")
    parser.add_argument("--out", type=Path, default=Path("mutants.json"))
    given = parser.parse_args()
    if unknown := set(given.only or ()) - set(AREAS):
        parser.error(f"no area {', '.join(sorted(unknown))}; there are {', '.join(AREAS)}")
    return given


def _measured(pool: ProcessPoolExecutor, keep: Path, globs: Sequence[str], until: float) -> Covering:
    """What each test executes; kept by the content of the source, of the test file and of what test files share."""
    files = sorted({path for glob in globs for path in (ROOT / "tests").rglob(glob)})
    files = [path for path in files if path.stem.removeprefix("test_") not in NOT_ASKED]
    own = {path for path in files if {path.parent.name, path.stem.removeprefix("test_")} & FIRST_MEASURED}
    files.sort(key=lambda path: (path not in own, path.stat().st_size))
    places = {path: keep / f"{path.stem}-{stamp}.json" for path, stamp in zip(files, stamps(ROOT, files), strict=True)}
    keep.mkdir(parents=True, exist_ok=True)
    waiting: dict[Future[str], Path] = {
        pool.submit(_measure, path.relative_to(ROOT).as_posix(), place): path
        for path, place in places.items()
        if not place.exists()
    }
    done = len(files) - len(waiting)
    print(f"measuring what {len(files)} test files execute ({done} are known)", flush=True)
    for future in as_completed(waiting):
        done += 1
        if future.cancelled():
            print(f"  no time for {waiting[future].name}", flush=True)
            continue
        if words := future.result():
            print(f"  unmutated: {words}", flush=True)
        print(f"  {done}/{len(files)} {waiting[future].name}", flush=True)
        if time.monotonic() > until:
            for one in waiting:
                one.cancel()
    covering = Covering()
    for path, place in places.items():
        if place.exists():
            covering.add(path.relative_to(ROOT).as_posix(), place)
    if not covering.seconds:
        raise SystemExit("no test was measured, so no mutant can be tried")
    return covering


def _control(pool: ProcessPoolExecutor, covering: Covering, mutants: Sequence[Mutant], budget: float) -> None:
    """Some trials of the source as it is. Raises SystemExit if one of them fails."""
    chosen = ((mutant, *_tests_of(covering, covering.chosen, mutant, budget)) for mutant in mutants)
    running = []
    for mutant, tests, executed in itertools.islice((each for each in chosen if each[1]), CONTROLS):
        source = (ROOT / "src" / "optbench" / mutant.file).read_text("utf-8")
        running.append(pool.submit(_try, replace(mutant, source=source), tests, executed))
    for outcome in (future.result() for future in running):
        if outcome.word != "survived":
            raise SystemExit(f"the unmutated source is {outcome.word} by {outcome.by}: no kill could be believed")


def _tests_of(covering: Covering, choose: Choose, mutant: Mutant, budget: float) -> tuple[list[Chosen], str]:
    tests, executed = covering.of(mutant.file, mutant.first, mutant.last)
    return choose(tests, budget), executed


def _try_all(
    pool: ProcessPoolExecutor,
    mutants: Sequence[Mutant],
    tests_of: Callable[[Mutant], tuple[list[Chosen], str]],
    deadline: float,
    found: dict[Mutant, Outcome],
    processes: int,
    save: Callable[[Sequence[Outcome]], None],
) -> None:
    """Puts into `found` what becomes of as many mutants as there is time for, in the order of the draw; one waits."""
    ahead, began, words = list(mutants), time.monotonic(), Counter[str]()
    running: set[Future[Outcome]] = set()
    while ahead or running:
        while ahead and len(running) <= processes and time.monotonic() < deadline:
            mutant = ahead.pop(0)
            running.add(pool.submit(_try, mutant, *tests_of(mutant)))
        if not running:
            print(f"the time is over: {len(ahead)} mutants were not tried", flush=True)
            break
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for outcome in (future.result() for future in done):
            found[outcome.mutant] = outcome
            words[outcome.word] += 1
            tried, now = words.total(), time.monotonic()
            left = min((now - began) / tried * (len(mutants) - tried), max(deadline - now, 0.0)) / 60.0
            counts = ", ".join(f"{n} {word}" for word, n in sorted(words.items()))
            print(f"{tried}/{len(mutants)} {_line(outcome)} [{counts}; {left:.0f} min left]", flush=True)
        save(list(found.values()))


def _line(outcome: Outcome) -> str:
    mutant = outcome.mutant
    words = f"{outcome.word} {mutant.file}:{mutant.first} {mutant.operator} {outcome.seconds:.0f} s"
    return (
        words
        if outcome.word != "survived"
        else f"{words}, {outcome.executed}, {outcome.tests} tests\n{_change(mutant)}\n   "
    )


def _change(mutant: Mutant) -> str:
    lines = [(sign, line) for sign, text in (("-", mutant.before), ("+", mutant.after)) for line in text.splitlines()]
    return "\n".join(f"    {sign} {line.strip()}" for sign, line in lines)


def _report(outcomes: Sequence[Outcome], places: Mapping[str, int], given: argparse.Namespace, seconds: float) -> None:
    """The table by area, and the survivors."""
    from scipy.stats import binomtest

    print("\n| area | places | tried | killed | timed out | survived |\n|---|---:|---:|---:|---:|---:|")
    for area in (*places, "all"):
        words = Counter(o.word for o in outcomes if area in ("all", o.mutant.area))
        size = sum(places.values()) if area == "all" else places[area]
        tried = sum(words.values())
        print(f"| {area} | {size:,} | {tried} | {words['killed']} | {words['timed out']} | {words['survived']} |")
    noticed = sum(o.word != "survived" for o in outcomes)
    if outcomes:
        interval = binomtest(noticed, len(outcomes)).proportion_ci(0.95, "exact")
        share = f"{noticed / len(outcomes):.1%} (95 % interval {interval.low:.1%} to {interval.high:.1%})"
        print(f"\n{noticed} of {len(outcomes)} noticed, {share}, in {seconds / 60:.0f} min; seed {given.seed}")
    for outcome in (o for o in outcomes if o.word == "survived"):
        mutant = outcome.mutant
        print(f"\n{mutant.file}:{mutant.first} {mutant.operator}, {outcome.executed}\n{_change(mutant)}")
    print(f"\n{given.out} has them all")


def _saved(out: Path, seed: int, places: Mapping[str, int], outcomes: Sequence[Outcome]) -> None:
    """Everything as JSON, after each mutant: who works on the survivors need not wait for the end."""
    rows = [asdict(o) | {"mutant": {k: v for k, v in asdict(o.mutant).items() if k != "source"}} for o in outcomes]
    words = json.dumps({"seed": seed, "places": places, "outcomes": rows}, indent=1) + "\n"
    beside = out.with_name(f".{out.name}")
    beside.write_text(words)
    beside.replace(out)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
