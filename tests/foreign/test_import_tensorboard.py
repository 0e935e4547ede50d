"""TensorBoard's event files: one that TensorBoard 2.21 itself wrote, ones made here, damaged ones."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench import records
from optbench.errors import RecordError, UserError
from optbench.foreign import Wishes, bring
from optbench.foreign.tensorboard import crc32c, masked, read

WRITTEN = (
    b"c-r$|fPjCKJmzxtDz0lcK77kjiZ`h!F*8rkwJbHS#L6g0k4vW{HLp0oC@DX&C`GThG&eV~s8X-ID6=HBNG}znDn2bUCp8`-l8~*iLJn%~%{x"
    b"LyoFGQ(*|UyX!d!w}TqPj0^>gxzi$#Ir4)5M>lGlf-&W)7~K&V#XQsQDSOU%(vOip&<;$ReF&|+a=Xt49*=HldHFHTO(Nh~V9_Dru%0jgc|?Mk"
    b"qABan816fD*?*w^Xp+iwU}KexI0B~X0>15`bB3mNQDEPVLq(>Fz^0gTmezJV-E0UL0F5yQsStF-KQZuaRhf@)Ba40{98zzEZT-AV^kE3G49j-p"
    b"#R4Q#?1CM=#jP`{b|LmB`?uz~X"
)
"""By EventFileWriter: `train/loss` 2/(k + 1) as simple_value and, by scalar_pb, `val/acc` (k + 1)/4 as a tensor, at
steps 100 k, one second apart, for k = 0, 1, 2; then a loss of NaN at step 300."""
NAME = "events.out.tfevents.1700000000.host.1.0"


def written() -> bytes:
    return zlib.decompress(base64.b85decode(WRITTEN))


def put(folder: Path, data: bytes, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder


def record(data: bytes) -> bytes:
    size = struct.pack("<Q", len(data))
    return size + struct.pack("<I", masked(size)) + data + struct.pack("<I", masked(data))


def event(step: int, tag: str, value: float, time: float = 0.0) -> bytes:
    """An Event, short enough for lengths of one byte; the step always in ten bytes."""
    whole = step & (2**64 - 1)
    digits = bytes([(whole >> 7 * k) & 0x7F | 0x80 for k in range(9)]) + bytes([whole >> 63])
    own = b"\x0a" + bytes([len(tag.encode())]) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(own)]) + own
    return b"\x09" + struct.pack("<d", time) + b"\x10" + digits + b"\x2a" + bytes([len(summary)]) + summary


def test_a_file_of_tensorboard(tmp_path: Path) -> None:
    place = put(tmp_path / "logs" / "run7", written())
    (place / "hparams.yaml").write_text("lr: 0.1\noptimizer: adam\n")
    brought = bring(
        [tmp_path / "logs"], tmp_path / "out", Wishes(seed_from="name", columns={"seconds": "relative_time"})
    )
    assert (brought.kinds, brought.unused) == (["tensorboard"], [])
    (run,) = records.read([tmp_path / "out"]).runs()
    curve = run.columns()
    assert curve["step"].tolist() == [0, 100, 200, 300]
    thirds = struct.unpack("<f", struct.pack("<f", 2 / 3))[0]
    assert curve["loss"][:3].tolist() == [2.0, 1.0, thirds]
    assert curve["val_accuracy"][:3].tolist() == [0.25, 0.5, 0.75]
    told = ("status", "seed", "optimizer", "best_loss", "best_val_step", "seconds")
    assert [run.summary[key] for key in told] == ["diverged", 7, "adam", thirds, 200, 300.0]


def test_tensorboard_reads_the_same(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(put(tmp_path, written())), size_guidance={"scalars": 0})
    found.Reload()
    theirs = [(one.step, one.value) for one in found.Scalars("train/loss")]
    ours = [(row["step"], row["train/loss"]) for row in read(tmp_path).rows if "train/loss" in row]
    assert repr(theirs) == repr(ours)


@pytest.mark.parametrize("where", [None, "."], ids=["a folder within", "beside the scalars"])
def test_what_add_hparams_of_torch_wrote_is_settings_and_no_run(where: str | None, tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    told = {"optimizer": "adam", "lr": 0.001, "seed": 2, "nesterov": True, "net.width": 8}  # torch keeps true as 1
    for width in (8, 16) if where is None else (8,):  # two sessions: what they say alike
        with tensorboard.SummaryWriter(str(tmp_path / "logs" / "a")) as writer:
            for step in range(3):
                writer.add_scalar("loss", 1.0 / (step + 1), step)
            writer.add_hparams({**told, "net.width": width}, {"end": 0.5}, run_name=where or str(width))
    brought = bring([tmp_path / "logs"], tmp_path / "out")
    (run,) = records.read([tmp_path / "out"]).runs()
    assert (run.config["choices"]["optimizer"], run.config["optimizer"], run.config["seed"]) == (
        "adam",
        {"lr": 0.001},
        2,
    )
    rest = {"nesterov": 1} | ({} if where is None else {"net": {"width": 8}})
    assert run.config["settings"] == rest
    assert run.columns()["loss"].tolist() == [1.0, 0.5, struct.unpack("<f", struct.pack("<f", 1 / 3))[0]]
    assert ("end" in brought.unused) == (where == ".")


def test_the_checksum_is_that_of_rfc_3720() -> None:
    examples = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E, b"123456789": 0xE3069283}
    assert {data: crc32c(data) for data in examples} == examples


def test_several_files_are_one_run_and_a_torn_end_is_left_out(tmp_path: Path) -> None:
    first = record(event(0, "loss", 2.0, 5.0)) + record(event(1, "loss", 1.5, 6.0))
    second = record(event(1, "loss", 1.0, 7.0)) + record(event(2, "loss", 0.5, 8.0))[:-6]
    put(put(tmp_path / "a", first), second, NAME.replace("17", "18"))
    brought = bring([tmp_path / "a"], tmp_path / "out")
    (run,) = records.read([tmp_path / "out"]).runs()
    assert run.columns()["loss"].tolist() == [2.0, 1.0]
    assert "several times" in " ".join(brought.notes)


@pytest.mark.parametrize(("data", "why"), [
    (b"", "no scalars"),
    (b"step,loss\n0,1.0\n1,2.0\n", "wrong checksum at byte 0"),
    (written()[:-40] + b"\0" + written()[-39:], "wrong checksum"),
    (record(b"\x2a\x7f\x0a"), "event 0 is none: a field ends after its message"),
    (record(b"\x0b"), "unknown kind 3"),
    (record(b"\xff" * 12), "too long"),
    (record(event(-1, "loss", 1.0)), "is no whole number"),
    (record(event(0, "x", 1.0)), "neither loss"),
])  # fmt: skip
def test_damaged_files(data: bytes, why: str, tmp_path: Path) -> None:
    put(tmp_path / "a", data)
    with pytest.raises(UserError, match=why):
        bring([tmp_path / "a"], tmp_path / "out")


@given(
    st.lists(
        st.tuples(st.integers(0, 2**53), st.sampled_from(["loss", "ä/b"]), st.floats(width=32)), min_size=1, max_size=6
    )
)
def test_scalars_come_back_to_the_bit(scalars: list[tuple[int, str, float]]) -> None:
    with TemporaryDirectory() as folder:
        put(Path(folder), b"".join(record(event(*one)) for one in scalars))
        rows = read(Path(folder)).rows
    found = [(row["step"], tag, row[tag]) for row in rows for tag in row if tag not in ("step", "relative_time")]
    assert [(s, t) for s, t, _ in found] == [(s, t) for s, t, _ in scalars]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for (*_, a), (*_, b) in zip(found, scalars, strict=True))


@given(st.binary(max_size=60))
def test_any_event_is_read_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder, suppress(RecordError):
        read(put(Path(folder), record(data)))
