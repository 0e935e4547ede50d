"""Reading folders of images: pixels against torchvision, the cache under damage, errors that name the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optbench.errors import DataError
from optbench.folders import cache_folder, fingerprint, image_files
from optbench.images import decode, read_folder


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
    return sorted(cache.glob("*"))


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
    assert decode(file, 4, 3).shape == (3, 4, 4)


def test_16_bit_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png.*8 bits"):
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
    assert len(decoded) == len(after) == len(names) == len(image_files(folder))
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
    assert cached(cache) == []


@pytest.mark.parametrize("content", [b"hello, I am text\n", b""])
def test_a_text_file_called_jpg_is_named(folder: Path, content: bytes) -> None:
    (folder / "fake.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"fake\.jpg: cannot be read as an image \(not an image\)") as caught:
        read_folder(folder, 8)
    assert caught.value.hint


def test_the_first_bad_file_in_order_is_named(folder: Path) -> None:
    for name in ("0a.jpg", "3a.jpg", "zz.png"):
        (folder / name).write_text("text")
    with pytest.raises(DataError, match=r"0a\.jpg"):
        read_folder(folder, 8)


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
