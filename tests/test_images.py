"""Reading folders of images: pixels against torchvision, the cache under damage, errors that name the file."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from optbench.errors import DataError
from optbench.folders import cache_folder, fingerprint, image_files
from optbench.images import decode, read, read_folder
from optbench.pictures import files_at


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPTBENCH_CACHE", str(folder))
    return folder


def picture(seed: int, width: int = 23, height: int = 17, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images, one of each kind, with names that sort in this order."""
    root = tmp_path / "pictures"
    root.mkdir()
    for seed, ending in enumerate(("bmp", "jpeg", "JPG", "png", "webp")):
        picture(seed, 20 + seed).save(root / f"{seed}.{ending}")
    (root / "notes.txt").write_text("not an image")
    (root / ".hidden.png").write_bytes(b"")
    return root


def cached(cache: Path) -> list[Path]:
    return sorted(cache.glob("pictures/*/pixels.*"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 40])
def test_pixels_are_torchvisions(folder: Path, channels: int, size: int) -> None:
    import optbench.vision  # noqa: F401

    # isort: split
    from torchvision.transforms.functional import pil_to_tensor, resize

    images, names = read_folder(folder, size, channels)
    assert images.shape == (5, channels, size, size)
    assert images.dtype == torch.uint8
    assert names == ("0.bmp", "1.jpeg", "2.JPG", "3.png", "4.webp")
    for image, name in zip(images, names, strict=True):
        with Image.open(folder / name) as source:
            expected = pil_to_tensor(resize(source.convert("RGB" if channels == 3 else "L"), [size, size]))
        assert torch.equal(image, expected), name


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_are_converted(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    picture(0, mode=mode).save(file)
    assert decode(file.read_bytes(), file.name, 4, 3)[0].shape == (3, 4, 4)


def test_16_bits_become_8_and_real_numbers_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    levels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096 + 255
    Image.fromarray(levels).save(tmp_path / "deep.png")
    images, _ = read_folder(tmp_path, 4)
    assert images[0, 0].flatten().tolist() == [16 * i for i in range(16)]
    assert "1 of 16 bits cut to 8" in caplog.text
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "real.tif")
    with pytest.raises(DataError, match=r"real\.tif.*8 bits"):
        read_folder(tmp_path, 4)


@pytest.mark.parametrize("ending", ["tif", "TIFF"])
def test_tiff_is_read(folder: Path, ending: str) -> None:
    before = read_folder(folder, 8)[0]
    first = next(p for p in sorted(folder.iterdir()) if p.suffix == ".png" and not p.name.startswith("."))
    Image.open(first).save(folder / f"zz.{ending}", format="TIFF")
    images, names = read_folder(folder, 8)
    assert names[-1] == f"zz.{ending}"
    assert len(images) == len(before) + 1


def test_images_of_other_kinds_are_told_and_other_files_are_not(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_folder(folder, 8)
    assert not caplog.messages
    for name in ("a.gif", "b.GIF", "c.ppm", "labels.csv", ".hidden.gif"):
        (folder / name).write_bytes(b"")
    read_folder(folder, 8)
    (line,) = caplog.messages
    assert line.startswith(f"{folder}: not read: 2 .gif, 1 .ppm (images end in .jpg, ")


def test_folders_below_are_read_on_request(folder: Path) -> None:
    (folder / "b").mkdir()
    picture(9).save(folder / "b" / "1.png")
    assert len(image_files(folder)) == 5
    assert read_folder(folder, 8, recursive=True)[1][-1] == "b/1.png"


def test_progress_counts_every_image_once(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_folder(folder, 8, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]
    read_folder(folder, 8, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 5


def test_cache_gives_the_same_pixels_without_decoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, names = read_folder(folder, 8)
    monkeypatch.setattr("optbench.images.decode", None)
    again, names_again = read_folder(folder, 8)
    assert torch.equal(first, again)
    assert names == names_again


def test_writing_into_the_images_leaves_the_cache_alone(folder: Path, cache: Path) -> None:
    read_folder(folder, 8)
    (file,) = cached(cache)
    before = file.read_bytes()
    images = read_folder(folder, 8)[0].zero_()
    assert not images.any()
    assert file.read_bytes() == before


def test_size_and_channels_have_caches_of_their_own(folder: Path, cache: Path) -> None:
    read_folder(folder, 8)
    read_folder(folder, 9)
    read_folder(folder, 8, 1)
    assert len(cached(cache)) == 3


@pytest.mark.parametrize("change", ["content", "time", "added", "removed", "renamed"])
def test_a_changed_folder_is_decoded_again(folder: Path, change: str) -> None:
    before, _ = read_folder(folder, 8)
    file = folder / "0.bmp"
    if change == "content":
        picture(99, 20).save(file)  # same size on disk: a BMP is not compressed
        os.utime(file, ns=(1, 1))
    elif change == "time":
        os.utime(file, ns=(5, 5))
    elif change == "added":
        picture(99).save(folder / "9.png")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(folder / "00.bmp")
    decoded: list[int] = []
    after, names = read_folder(folder, 8, progress=lambda done, _: decoded.append(done))
    assert len(decoded) == (0 if change == "time" else len(image_files(folder)))
    assert len(after) == len(names) == len(image_files(folder))
    assert torch.equal(after[0], before[0]) == (change in ("time", "added", "renamed"))


def test_two_folders_that_look_alike_do_not_share(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        picture(seed).save(tmp_path / name / "x.bmp")
        os.utime(tmp_path / name / "x.bmp", ns=(7, 7))
    assert not torch.equal(read_folder(tmp_path / "a", 8)[0], read_folder(tmp_path / "b", 8)[0])


@pytest.mark.parametrize("damage", ["garbage", "empty", "torn", "one byte", "zip", "other shape"])
def test_a_damaged_cache_is_made_again(folder: Path, cache: Path, damage: str) -> None:
    expected = read_folder(folder, 8)[0].clone()
    (file,) = cached(cache)
    content = bytearray(file.read_bytes())
    if damage == "garbage":
        file.write_bytes(b"garbage" * 50)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "torn":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "one byte":
        content[-100] ^= 1
        file.write_bytes(content)
    elif damage == "zip":
        file.write_bytes(b"PK\x03\x04" + bytes(100))
    else:
        np.save(file, np.zeros((5, 3, 4, 4), dtype=np.uint8))
    assert torch.equal(read_folder(folder, 8)[0], expected)
    assert [path.name for path in cached(cache)] == [file.name]
    again: list[int] = []
    read_folder(folder, 8, progress=lambda done, _: again.append(done))
    assert again == []


def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file in the way")
    assert len(read_folder(folder, 8)[0]) == 5
    assert "cannot be kept" in caplog.text


def test_a_full_disk_leaves_nothing_behind(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert len(read_folder(folder, 8)[0]) == 5
    assert cached(cache) == []


def test_a_truncated_jpeg_is_named(folder: Path, cache: Path) -> None:
    file = folder / "1.jpeg"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=r"1\.jpeg: cannot be read as an image"):
        read_folder(folder, 8)
    picture(1, 21).save(file)  # whole again: what was kept of the broken one is not believed
    assert read_folder(folder, 8)[0][1].any()


@pytest.mark.parametrize(("content", "why"), [(b"hello, I am text\n", "not an image"), (b"", "empty")])
def test_a_text_file_called_jpg_is_named(folder: Path, content: bytes, why: str) -> None:
    (folder / "fake.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"fake\.jpg: cannot be read as an image \({why}\)") as caught:
        read_folder(folder, 8)
    assert caught.value.hint


def test_all_bad_files_are_named_in_one_list(folder: Path, cache: Path) -> None:
    for name in ("0a.jpg", "3a.jpg", "zz.png"):
        (folder / name).write_text("text")
    every = r"3 of 8 files cannot be used: 0a\.jpg (not an image), 3a\.jpg (not an image), zz\.png (not an image)$"
    with pytest.raises(DataError, match=every.replace("(", r"\(").replace(")", r"\)")):
        read_folder(folder, 8)
    for i in range(30):
        (folder / f"z{i:02d}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"33 of 38 .* and 13 more, all listed in ") as caught:
        read_folder(folder, 8)
    lines = Path(caught.value.message.partition("all listed in ")[2]).read_text().splitlines()
    assert [line.split("\t")[0] for line in lines][-1] == str(folder / "zz.png")
    assert len(lines) == 33


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_file_is_named(folder: Path) -> None:
    (folder / "0.bmp").chmod(0)
    with pytest.raises(DataError, match=r"0\.bmp.*denied"):
        read_folder(folder, 8)


@pytest.mark.parametrize("read", [lambda f: read_folder(f, 8), fingerprint, image_files])
def test_empty_missing_and_wrong_folders_are_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, what in (("empty", "no images"), ("missing", "no such folder"), ("file", "expected a folder")):
        with pytest.raises(DataError, match=f"{name}: {what}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("size", "channels", "named"),
    [(0, 3, "image_size=0"), (-4, 3, "image_size=-4"), (10**6, 3, "image_size=1000000"), (8, 2, "channels=2")],
)
def test_absurd_sizes_are_refused(folder: Path, size: int, channels: int, named: str) -> None:
    with pytest.raises(DataError, match=named):
        read_folder(folder, size, channels)


def test_fingerprint_is_of_names_and_sizes(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)
    os.utime(folder / "0.bmp", ns=(3, 3))
    (folder / "notes.txt").write_text("changed")
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert fingerprint(moved) == before
    (moved / "0.bmp").write_bytes((moved / "0.bmp").read_bytes() + b"x")
    longer = fingerprint(moved)
    assert longer != before
    (moved / "sub").mkdir()
    (moved / "0.bmp").rename(moved / "sub" / "0.bmp")
    assert fingerprint(moved) not in (before, longer)


def test_listing_needs_no_torch() -> None:
    code = "import sys, optbench.folders; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTBENCH_CACHE")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "optbench"
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def damaged(data: bytes, how: int, rng: np.random.Generator) -> bytes:
    """A file cut off, with flipped bits, with noise at its head, empty, or of something else."""
    if how == 0:
        return data[: int(rng.integers(1, len(data)))]
    if how == 1:
        raw = bytearray(data)
        for place in rng.integers(0, len(raw), 8):
            raw[place] ^= 1 << int(rng.integers(8))
        return bytes(raw)
    if how == 2:
        return rng.bytes(16) + data[16:]
    return (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"PK\x03\x04" + rng.bytes(200), data + rng.bytes(20))[how - 3]


def test_a_thousand_damaged_files_are_each_accounted_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    kinds = {"jpg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF"}
    whole = {}
    for ending, kind in kinds.items():
        buffer = io.BytesIO()
        picture(1, 21, 13).save(buffer, kind)
        whole[ending] = buffer.getvalue()
    root = tmp_path / "damaged"
    root.mkdir()
    for number in range(1000):
        ending = list(kinds)[number % 5]
        called = list(kinds)[int(rng.integers(5))] if number % 3 == 0 else ending
        (root / f"{number:04d}.{called}").write_bytes(damaged(whole[ending], number % 7, rng))
    skipped, kept = (read(files_at(root), 6, on_bad=what) for what in ("skip", "keep"))
    assert len(skipped.names) + len(skipped.bad) == 1000
    assert sum(skipped.account["left_out"].values()) == len(skipped.bad) > 300
    assert skipped.account["used"] == len(skipped.images) > 100
    assert (len(kept.names), len(kept.images), kept.bad) == (1000, 1000, skipped.bad)
    assert not any(kept.images[i].any() for i, name in enumerate(kept.names) if name in kept.bad)
    assert torch.equal(kept.images[[name not in kept.bad for name in kept.names]], skipped.images)
    listed = Path(caplog.messages[-1].partition("all listed in ")[2]).read_text().splitlines()
    assert [Path(line.split("\t")[0]).name for line in listed] == list(skipped.bad)
    with pytest.raises(DataError, match=f"{len(skipped.bad)} of 1000 files cannot be used"):
        read(files_at(root), 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(3).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        upright = ImageOps.exif_transpose(image).convert("RGB").resize((8, 8), Image.Resampling.BILINEAR)
    found = read(files_at(tmp_path), 8)
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), np.asarray(upright))
    assert found.account["converted"] == ({} if orientation == 1 else {"turned as the camera says (EXIF)": 1})


def test_what_is_read_otherwise_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [picture(i) for i in range(3)]
    frames[0].save(tmp_path / "moves.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "really_a_png.jpg", format="PNG")
    frames[0].save(tmp_path / "still.png")
    found = read(files_at(tmp_path), 8)
    assert found.converted == {"PNG under another ending": 1, "the first of several frames": 1}
    assert all(torch.equal(image, found.images[0]) for image in found.images)
    assert "of 3 pictures: 1 PNG under another ending, 1 the first of several frames" in caplog.text
    caplog.clear()
    assert read(files_at(tmp_path), 8).converted == found.converted  # from the cache
    assert caplog.messages


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in (10, 12, 40):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    found = read(files_at(tmp_path), 4, on_bad="skip")
    assert found.bad == {"12.png": "too many pixels: 12 x 12", "40.png": "too many pixels"}


def test_a_zip_is_read_as_the_folder_in_it(folder: Path, tmp_path: Path) -> None:
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "0.png").write_bytes(b"junk")
    shutil.make_archive(str(tmp_path / "whole"), "zip", tmp_path, folder.name)
    images, names = read_folder(tmp_path / "whole.zip", 8)
    assert names == read_folder(folder, 8)[1]
    assert torch.equal(images, read_folder(folder, 8)[0])
    raw = bytearray((tmp_path / "whole.zip").read_bytes())
    raw[raw.index(b"3.png") + 40] ^= 255
    (tmp_path / "broken.zip").write_bytes(raw)
    assert list(read(files_at(tmp_path / "broken.zip"), 8, on_bad="skip").bad) == ["3.png"]
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(DataError, match=r"no\.zip"):
        read_folder(tmp_path / "no.zip", 8)


def test_several_that_build_the_same_cache_make_one(folder: Path, cache: Path) -> None:
    expected = read_folder(folder, 8)[0].clone()
    shutil.rmtree(cache)
    decoded: list[int] = []
    start = Barrier(6)

    def build(_: int) -> torch.Tensor:
        start.wait()
        return read_folder(folder, 8, progress=lambda done, _: decoded.append(done))[0]

    with ThreadPoolExecutor(6) as pool:
        assert all(torch.equal(images, expected) for images in pool.map(build, range(6)))
    assert sorted(done for done in decoded if done) == [1, 2, 3, 4, 5]  # who waits for another says 0
    assert len(cached(cache)) == 1


def test_what_a_killed_builder_left_is_built_over(folder: Path, cache: Path) -> None:
    expected = read_folder(folder, 8)[0].clone()
    (file,) = cached(cache)
    file.with_suffix(".tmp").write_bytes(file.read_bytes()[:200])
    for left in (file, file.parent.with_suffix(".json")):
        left.unlink()
        assert torch.equal(read_folder(folder, 8)[0], expected)
        assert [path.name for path in cached(cache)] == ["pixels.npy"]


def test_a_cache_that_was_checked_is_not_summed_again(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_folder(folder, 8)
    (file,) = cached(cache)
    os.utime(file, ns=(5, 5))
    monkeypatch.setattr("optbench.folders._SETTLED_NS", -(10**12))  # as if it had lain there for long
    expected = read_folder(folder, 8)[0].clone()
    monkeypatch.setattr("optbench.images._checksum", None)
    assert torch.equal(read_folder(folder, 8)[0], expected)


_BUILD = """
import sys
from optbench.images import read_folder
print(read_folder(sys.argv[1], 64)[0].long().sum().item(), flush=True)
"""


@pytest.mark.slow
def test_builders_that_are_killed_leave_a_right_cache_to_the_others(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for i in range(300):
        picture(i, 300, 200).save(root / f"{i}.jpg")
    environment = {**os.environ, "OPTBENCH_CACHE": str(cache)}
    rng = np.random.default_rng(0)
    for _ in range(2):
        shutil.rmtree(cache, ignore_errors=True)
        killed, *others = (
            subprocess.Popen([sys.executable, "-c", _BUILD, str(root)], env=environment, stdout=subprocess.PIPE)
            for _ in range(3)
        )
        deadline = time.monotonic() + 60
        while not any(cache.glob("pictures/*/.lock")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(float(rng.random()) * 0.5)
        killed.kill()
        killed.communicate()
        sums = [int(other.communicate(timeout=120)[0]) for other in others]
        expected = int(read_folder(root, 64)[0].long().sum())
        assert sums == [expected, expected]
        assert expected == sum(
            int(decode(f.read_bytes(), f.name, 64, 3)[0].sum(dtype=np.int64)) for f in root.iterdir()
        )
        assert [path.name for path in cached(cache)] == ["pixels.npy"]
