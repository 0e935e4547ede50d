"""What a queue is asked: to take runs, how its tasks are, to cancel some. Slurm by its commands, or this machine.

squeue says what is alive and, for some minutes, what has ended; sacct says how older tasks ended, where a site keeps
accounts. A task that neither knows is over: `GONE`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optbench.errors import UserError
from optbench.launch.settings import SlurmSettings

Call = Callable[[], None]
"""What a task does; pickled."""

GONE = "GONE"
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
ENDED |= {"REVOKED", "TIMEOUT", GONE}
"""States of tasks that are over; of every other one, a task lives."""
_WAITING = {"CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_MOST_TASKS = 1000
_ANSWER_SECONDS = 60.0
_OWN_WORDS = ("srun:", "slurmstepd", "submitit ")
OVER_MEMORY = re.compile(r"memory limit|oom[-_ ]kill", re.IGNORECASE)
"""What Slurm writes into the log of a task that it ends for its memory; the state may be FAILED all the same."""
_SIGNAL_SECONDS = 90
"""Before the time limit a task is told by a signal; Slurm may be a minute early."""


@dataclass(frozen=True)
class Seen:
    """What a queue says of a task.

    Attributes:
        state: in Slurm's words.
        why: why it waits or how it ended, as far as the queue says.
        node: where it runs or ran.
    """

    state: str
    why: str = ""
    node: str = ""

    @property
    def alive(self) -> bool:
        return self.state not in ENDED

    @property
    def waits(self) -> bool:
        return self.state in _WAITING

    def __str__(self) -> str:
        word = "no longer in the queue" if self.state == GONE else self.state
        return f"{word}{f' on {self.node}' if self.node else ''}{f' ({self.why})' if self.why else ''}"


class QueueSilent(Exception):
    """The queue gives no answer; says why."""


class SubmissionRefused(Exception):
    """The queue did not take the tasks; says why."""


class Queue(Protocol):
    """Where tasks go.

    Attributes:
        most: tasks that can be submitted at once.
    """

    most: int

    def submit(self, calls: Sequence[Call], name: str, at_once: int) -> str:
        """Submits tasks; returns their job number. Raises SubmissionRefused."""

    def find(self, name: str) -> str | None:
        """The number of the job of this name, None if the queue knows none. Raises QueueSilent."""

    def look(self, tasks: Collection[str]) -> dict[str, Seen]:
        """How each task is. Raises QueueSilent."""

    def cancel(self, tasks: Collection[str], waiting: bool = False) -> None:
        """Cancels tasks, or those of them that wait; a running one is told by SIGTERM. Raises QueueSilent."""

    def last_words(self, task: str) -> str | None:
        """What a task left on standard error: that it took too much memory, or its last line; None: no such file."""


def queue_for(settings: SlurmSettings, folder: Path) -> Queue:
    """The queue that the settings mean; `folder` is for its files. Raises UserError where there is none."""
    return LocalQueue(settings, folder) if settings.cluster == "local" else SlurmQueue(settings, folder)


def _executor(settings: SlurmSettings, folder: Path) -> Any:
    """submitit's executor, set as the settings say."""
    import submitit

    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=settings.cluster)
    except RuntimeError as error:
        raise UserError(
            "hydra/launcher=slurm: there is no Slurm on this machine (no srun)",
            "hydra.launcher.cluster=local runs the same path as processes here",
        ) from error
    asked = {
        "timeout_min": settings.minutes,
        "cpus_per_task": settings.threads,
        "gpus_per_node": settings.gpus or None,
        "mem_gb": settings.memory_gb,
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_signal_delay_s": min(_SIGNAL_SECONDS, 15 * settings.minutes),
        "slurm_additional_parameters": dict(settings.extra) or None,
    }
    executor.update_parameters(**{k: v for k, v in asked.items() if v is not None})
    return executor


def _submitted(executor: Any, calls: Sequence[Call]) -> list[Any]:
    """submitit's jobs of these calls. Raises SubmissionRefused."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():  # submitit prints what it raises, too
            jobs = [executor.submit(call) for call in calls]
    except (OSError, RuntimeError) as error:
        lines = [line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in str(error).splitlines()]
        if isinstance(error, OSError) and error.strerror:
            lines = [f"{error.filename}: {error.strerror}"]
        raise SubmissionRefused("; ".join(filter(None, lines)) or type(error).__name__) from error
    finally:  # submitit leaves a link to each script, and what was refused
        for pattern in (".submission_file_*.sh", "[0-9a-f]" * 32 + ".pkl"):
            for path in executor.folder.glob(pattern):
                path.unlink(missing_ok=True)
    return jobs


def _last_words(folder: Path, task: str) -> str | None:
    from submitit.core.utils import JobPaths

    try:
        with JobPaths(folder, task).stderr.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text: str = file.read().decode(errors="replace")
    except OSError:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if OVER_MEMORY.search(line)]
    own = [line for line in lines if not line.startswith(_OWN_WORDS)]
    return (telling or own or [""])[-1][:200]


class SlurmQueue:
    """Slurm."""

    def __init__(self, settings: SlurmSettings, folder: Path) -> None:
        self._executor, self._folder = _executor(settings, folder), folder
        self.most = _MOST_TASKS
        with contextlib.suppress(QueueSilent):  # then sbatch says whether they are too many
            found = re.search(r"MaxArraySize\s*=\s*(\d+)", _answer("scontrol", "show", "config"))
            self.most = min(_MOST_TASKS, int(found[1])) if found else _MOST_TASKS

    def submit(self, calls: Sequence[Call], name: str, at_once: int) -> str:
        self._executor.update_parameters(name=name, slurm_array_parallelism=at_once)
        return str(_submitted(self._executor, calls)[0].job_id).partition("_")[0]

    def find(self, name: str) -> str | None:
        lines = _answer("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%F").split()
        return lines[0] if lines else None

    def look(self, tasks: Collection[str]) -> dict[str, Seen]:
        jobs = ",".join(sorted({task.partition("_")[0] for task in tasks}))
        listed = _squeue(jobs)
        found = {task: _of(task, listed) for task in tasks}
        unclear = {
            task for task, seen in found.items() if seen is None or not (seen.alive or seen.state == "COMPLETED")
        }
        accounts, why = {}, "Slurm keeps no account of it"
        if unclear:
            try:
                accounts = _sacct(jobs)
            except QueueSilent as error:
                why = str(error)
        for task in unclear:
            known, account = found[task], _of(task, accounts)
            if known is None:  # what is not in the queue is over, although the accounts may not know it yet
                found[task] = account if account is not None and not account.alive else Seen(GONE, why)
            elif account is not None and account.state == known.state:  # it says by whom, and the exit code
                found[task] = account
        return {task: seen for task, seen in found.items() if seen is not None}

    def cancel(self, tasks: Collection[str], waiting: bool = False) -> None:
        _answer("scancel", *(["--state=PENDING"] if waiting else []), *sorted(tasks))

    def last_words(self, task: str) -> str | None:
        return _last_words(self._folder, task)


def _answer(*command: str) -> str:
    """What a command of Slurm's prints; nothing where it does not know the job. Raises QueueSilent."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SACCT_", "SCANCEL_"))}
    try:
        done = subprocess.run(
            command, env=kept | {"LC_ALL": "C"}, text=True, errors="replace", capture_output=True,
            stdin=subprocess.DEVNULL, timeout=_ANSWER_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        why = (
            f"no answer in {_ANSWER_SECONDS:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
        )
        raise QueueSilent(f"{command[0]}: {why}") from error
    if done.returncode and "nvalid job id" not in done.stderr:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip()
        raise QueueSilent(last if last.startswith(command[0]) else f"{command[0]}: {last}")
    return done.stdout


def _squeue(jobs: str) -> dict[str, Seen]:
    text = _answer(
        "squeue", "--noheader", "--array", "--states=all", f"--jobs={jobs}", "--format=%i|%T|%r|%N"
    )  # fmt: skip
    return _listed(text, lambda state, why, node: Seen(state, "" if why == "None" else why, node))


def _sacct(jobs: str) -> dict[str, Seen]:
    asked = ("--noheader", "--allocations", "--parsable2", "--format=JobID,State,ExitCode,NodeList")
    text = _answer("sacct", *asked, f"--jobs={jobs}")

    def seen(state: str, code: str, node: str) -> Seen:
        word, _, by = state.partition(" ")  # "CANCELLED by 1000"
        why = by.replace("by ", "by uid ") if by else "" if code in ("", "0:0") else f"exit code {code}"
        return Seen(word, why, "" if node.startswith("None") else node)

    return _listed(text, seen)


def _listed(text: str, seen: Callable[[str, str, str], Seen]) -> dict[str, Seen]:
    """Tasks by name, of lines "name|state|why|node"; a range of tasks may share one."""
    from submitit.slurm.slurm import read_job_id

    found: dict[str, Seen] = {}
    for line in text.splitlines():
        name, *fields = line.strip().split("|")
        if len(fields) != 3 or "." in name:
            continue
        try:
            parts = read_job_id(name)
        except ValueError:  # a list of tasks that Slurm has cut short
            continue
        for job, *ends in parts:
            numbers = range(int(ends[0]), int(ends[-1]) + 1) if ends else ()
            for task in [f"{job}_{n}" for n in numbers] or [job]:
                found[task] = seen(*fields)
    return found


def _of(task: str, listed: dict[str, Seen]) -> Seen | None:
    """What a list says of a task; what it says of the array as a whole holds for a task that it does not name."""
    found = listed.get(task)
    if found is None and (whole := listed.get(task.partition("_")[0])) is not None and not whole.alive:
        return whole
    return found


class LocalQueue:
    """Processes of this machine, one submission a task, so that the path to Slurm can be tried without it."""

    most = 1

    def __init__(self, settings: SlurmSettings, folder: Path) -> None:
        self._executor, self._folder = _executor(settings, folder), folder
        self._jobs: dict[str, Any] = {}

    def submit(self, calls: Sequence[Call], name: str, at_once: int) -> str:
        with _unheard(signal.SIGINT):  # a Ctrl-C reaches the whole group; the driver passes it on
            [job] = _submitted(self._executor, calls)
        self._jobs[str(job.job_id)] = job
        return str(job.job_id)

    def find(self, name: str) -> str | None:
        return None

    def look(self, tasks: Collection[str]) -> dict[str, Seen]:
        return {task: self._seen(task) for task in tasks}

    def _seen(self, task: str) -> Seen:
        if (job := self._jobs.get(task)) is None:  # another driver's
            return Seen("RUNNING") if self._controls(task) else Seen(GONE, "its process is over")
        state = str(job.state)
        return Seen({"FINISHED": "COMPLETED", "INTERRUPTED": "FAILED"}.get(state, state))

    def _controls(self, task: str) -> bool:
        """Whether a process of this number is submitit's and has this folder: the number may be another's by now."""
        with contextlib.suppress(OSError):
            return os.fsencode(self._folder) in Path(f"/proc/{task}/cmdline").read_bytes().split(b"\0")
        return False

    def cancel(self, tasks: Collection[str], waiting: bool = False) -> None:
        for task in [] if waiting else tasks:
            if self._seen(task).alive:
                with contextlib.suppress(OSError):
                    os.kill(int(task), signal.SIGTERM)

    def last_words(self, task: str) -> str | None:
        return _last_words(self._folder, task)


@contextlib.contextmanager
def _unheard(number: signal.Signals) -> Iterator[None]:
    """Processes started within it do not hear a signal."""
    try:
        before = signal.signal(number, signal.SIG_IGN)
    except ValueError:  # not the main thread: it has no say
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
