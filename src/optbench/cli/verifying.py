"""verify: recorded runs, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import ConfigDir, Json, Quiet, paths, print_json, print_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optbench.verification import Chosen, Verified


def verify(
    where: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.", show_default=False),
    ],
    sample: Annotated[
        int | None, typer.Option("--sample", help="Only so many runs, always the same ones.", min=1, show_default=False)
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", help="Relative: how far apart results of another machine may be.", min=0, show_default=False
        ),
    ] = None,
    config_dir: ConfigDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run recorded runs again and say whether their numbers come again.

    With the same machine, versions, threads and engine they must be the same bits. Elsewhere it is said how far
    apart they are; --tolerance rules out what is further. Nothing is recorded, and no record is changed. The exit
    code is 1 where numbers disagree, a record was edited or has no checksum, 3 where no run could be run again.
    Runs with code of your own need the --config-dir that they had.

    Examples:

      optbench verify outputs/runs/rosenbrock-adam-constant-s0-b79e1e74891f

      optbench verify outputs/sweeps/race --sample 20

      optbench verify outputs/ --sample 5 --json
    """
    from optbench import experiment
    from optbench.cli.progress import display
    from optbench.comparison.filters import nothing
    from optbench.verification import choose
    from optbench.verification import verify as verified

    chosen = choose(where, sample)
    if not chosen.runs and not chosen.unreadable:
        raise nothing(where, ())
    done: list[Verified] = []
    with experiment.interruptible() as stop, display(quiet or as_json) as shown:
        for one in verified(chosen.runs, stop, shown, paths(config_dir), tolerance):
            done.append(one)
            if not as_json:
                print_lines([_line(one)])
    if as_json:
        print_json(_document(chosen, done))
    else:
        print_lines(_summary(chosen, done))
    if stop.requested:
        raise typer.Exit(stop.exit_code)
    if chosen.unreadable or chosen.unsealed or any(one.verdict in ("different", "edited") for one in done):
        raise typer.Exit(1)
    if all(one.verdict == "not run again" for one in done):
        raise typer.Exit(3)  # nothing was found true


def _line(one: Verified) -> str:
    from optbench.statistics.numbers import printable

    name = one.run.path.name if one.run.path is not None else f"{one.run.run_id} in {one.run.table and one.run.table}"
    return f"{one.verdict}: {printable(str(name))}: {printable(one.reason)}"


def _document(chosen: Chosen, done: Sequence[Verified]) -> dict[str, object]:
    return {
        "found": chosen.found,
        "chosen": len(chosen.runs),
        "runs": [one.to_json() for one in done],
        "unsealed": list(chosen.unsealed),
        "unreadable": [{"path": one.path, "why": one.why} for one in chosen.unreadable],
    }


def _summary(chosen: Chosen, done: Sequence[Verified]) -> list[str]:
    from collections import Counter

    from optbench.statistics.numbers import printable

    counts = Counter(one.verdict.value for one in done)
    words = ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) or "none"
    left = f"; {len(chosen.runs) - len(done)} not reached" if len(done) < len(chosen.runs) else ""
    lines = [f"{len(done)} of {chosen.found} runs looked at: {words}{left}"]
    if chosen.unreadable:
        several = len(chosen.unreadable) != 1
        lines += [f"{len(chosen.unreadable)} record{'s are' if several else ' is'} not believed:"]
        lines += [f"  {printable(one.why)}" for one in chosen.unreadable]
    if chosen.unsealed:
        lines.append("no checksum, so nothing is known of what was not run again: another program wrote this, or an "
                     "optbench of before there were checksums")  # fmt: skip
        lines += [f"  {printable(str(path))}" for path in chosen.unsealed]
    return lines
