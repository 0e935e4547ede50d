"""The cache folder as a whole: what it holds is counted, what is emptied is made again, nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_tools import invoke
from PIL import Image

from optbench import shelf
from optbench.errors import OutputError
from optbench.images import read_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "缓存 1"
    monkeypatch.setenv("OPTBENCH_CACHE", str(folder))
    return folder


def test_an_empty_cache_says_where_it_would_be(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(capsys, "cache") == (0, f"cache {cache}: 0 bytes\n", "")
    assert invoke(capsys, "cache", "--empty")[0] == 0
    assert not cache.exists()


def test_what_is_held_is_counted_and_emptied_by_kind(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    before = read_folder(tmp_path, 16)[0].clone()
    shelf.put("composed", "k", {"a": 1})
    (cache / "images-old.npy").write_bytes(bytes(100))
    (cache / "runs").mkdir()
    for mine in (cache / "runs" / "run.json", cache / "mine.txt"):
        mine.write_text("not optbench's to remove")
    said = json.loads(invoke(capsys, "cache", "--json")[1])
    sizes = {one["kind"]: one["bytes"] for one in said["kinds"]}
    assert said["folder"] == str(cache)
    assert set(sizes) == {"pictures", "composed"}
    pixels = sum(f.stat().st_size for f in (cache / "pictures").rglob("*") if f.is_file())
    assert sizes["pictures"] == pixels + 100
    assert said["bytes"] == sum(sizes.values())
    assert invoke(capsys, "cache", "pictures", "--empty")[1].startswith(f"removed from {cache}: ")
    assert [one.kind for one in shelf.held()] == ["composed"]
    assert read_folder(tmp_path, 16)[0].equal(before)
    assert invoke(capsys, "cache", "--empty")[0] == 0
    assert shelf.held() == []
    assert sorted(p.name for p in cache.iterdir()) == ["mine.txt", "runs"]
    assert (cache / "runs" / "run.json").exists()


def test_an_unknown_kind_is_named(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = invoke(capsys, "cache", "picture", "--empty")
    assert (code, out) == (2, "")
    assert "did you mean: pictures?" in error


def test_what_cannot_be_removed_is_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put("composed", "k", 1)

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(OutputError, match="composed: cannot be removed"):
        shelf.empty()


def test_every_kind_that_is_put_on_the_shelf_is_known() -> None:
    import re

    package = Path(shelf.__file__).parent
    text = "\n".join(file.read_text() for file in package.rglob("*.py"))
    named = set(re.findall(r"shelf\.(?:put|take)\(\"(\w+)\"", text))
    assert named | {"pictures"} <= set(shelf.KINDS)
    assert len(named) > 3
