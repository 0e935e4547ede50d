"""What certificates cost: to write, and to check in a bare Python, for the catalogue and a few surfaces in 3 and 4.

    python benchmarks/certificates.py            # about three minutes of one core
    python benchmarks/certificates.py --only rosenbrock,himmelblau
    python benchmarks/certificates.py --write    # and benchmarks/results/certificates.md

CPU seconds of one thread. The check is a process of its own, `python -I -S check_proof.py FILE`, start included.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from critical import field_of

from optbench import check_proof
from optbench.catalogue import surface_names
from optbench.critical.certified import certify
from optbench.critical.second_proof.certificate import write_certificate
from optbench.errors import UserError
from optbench.experiment.provenance import processor
from optbench.launch.base import available_cores

FURTHER = ["rosenbrock_3d", "rosenbrock_4d", "styblinski_tang_3d", "dixon_price_3d", "zakharov_3d"]
HEAD = "| surface | write, s | check, s | cells | points | size, kB | outcome |"


def measure(name: str, folder: Path) -> str:
    """A row of the table."""
    field = field_of(name)
    found = certify(field.objective, field.surface.domain, name=name)
    began = time.process_time()
    try:
        written = write_certificate(field.objective, found)
    except UserError as error:
        return f"| {name} | | | | | | {error} |"
    seconds = time.process_time() - began
    file = folder / f"{name}.json"
    file.write_text(written.text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-I", "-S", check_proof.__file__, str(file)], capture_output=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    checked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    certificate = check_proof.load(written.text.encode())
    cells = sum(type(cell) is list for cell in certificate.cells)
    word = "complete" if written.complete else f"{certificate.claim['open']} cells open"
    outcome = word if done.returncode == 0 else f"exit code {done.returncode}"
    points, size = len(certificate.points), len(written.text) // 1000
    return f"| {name} | {seconds:.2f} | {checked:.2f} | {cells:,} | {points} | {size} | {outcome} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/certificates.md")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else [*surface_names(), *FURTHER]
    lines = [HEAD, "|---|" + "---:|" * 5 + "---|"]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            lines.append(measure(name, Path(folder)))
            print(lines[-1], flush=True)
    note = (
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}."
    )
    if given.write:
        text = "\n".join(["# Certificates", "", note, "Made by benchmarks/certificates.py.", "", *lines, ""])
        (Path(__file__).parent / "results" / "certificates.md").write_text(text)


if __name__ == "__main__":
    main()
