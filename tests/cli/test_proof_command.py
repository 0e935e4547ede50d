"""`classify-critical --certificate` and `check-proof`: what they write, print, refuse and import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_tools import command, invoke
from proof_tools import signed

FORMULA = ("classify-critical", "--expr", "x**4 - 3*x*y + y**2", "--box", "-3,3")


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("proof") / "made" / "proof.json"
    assert command(*FORMULA, "--certificate", place) == 0
    return place


def test_certificate_is_written_and_accepted(proof: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "check-proof", proof)
    assert code == 0
    assert out.splitlines()[0] == "f(x, y) = x**4 - 3*x*y + y**2"
    assert out.splitlines()[-1] == "ACCEPTED: the box holds exactly 3 critical points (2 minima, 1 saddle)."


def test_json_is_one_document(proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "check-proof", proof, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["accepted"], found["complete"], found["minimum"], found["saddle"]) == (True, True, 2, 1)
    assert sorted(p["type"] for p in found["points"]) == ["minimum", "minimum", "saddle"]
    code, out, err = invoke(capsys, *FORMULA, "--json", "--certificate", tmp_path / "p.json")
    assert code == 0
    assert json.loads(out)["complete"] is True
    assert "certificate" in err


def test_changed_file_is_refused(proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(proof.read_text())
    document["claim"]["saddle"] = 2
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(document))
    code, out, _ = invoke(capsys, "check-proof", changed)
    assert code == 1
    assert out.startswith("REFUSED: the digest")
    changed.write_text(json.dumps(signed(document)))
    code, out, _ = invoke(capsys, "check-proof", changed, "--json")
    assert code == 1
    assert json.loads(out)["accepted"] is False


@pytest.mark.parametrize("text", ["", "{", "[1, NaN]", '{"format": 1}'])
def test_no_certificate_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    code, out, err = invoke(capsys, "check-proof", file)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "check-proof", tmp_path / "gone.json")
    assert code == 2
    assert "No such file" in err


def test_certificate_of_an_incomplete_search_says_what_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "open.json"
    code, out, _ = invoke(capsys, "classify-critical", "--fn", "monkey_saddle", "--certificate", place)
    assert code == 0
    assert "open cells" in out.splitlines()[-2]
    assert "cannot hold degenerate points" in out.splitlines()[-1]
    assert command("check-proof", place) == 0


def test_a_budget_that_ends_the_certificate_early_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optbench.critical.second_proof.certificate.MOST_CELLS", 10)
    code, out, _ = invoke(capsys, *FORMULA, "--certificate", tmp_path / "p.json")
    assert code == 0
    assert "COMPLETE" in out
    assert "--budget 60" in out.splitlines()[-1]
    assert command("check-proof", tmp_path / "p.json") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "numeric"), "--method numeric"),
        (("--at", "0,0"), "--at"),
        (("--run", "gone"), "--run"),
    ],
)
def test_what_proves_nothing_gets_no_certificate(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = invoke(capsys, "classify-critical", "--certificate", tmp_path / "p.json", *words)
    assert code == 2
    assert "--certificate" in err
    assert said in err
    assert len(err.splitlines()) <= 3
    assert not list(tmp_path.iterdir())


def test_existing_file_and_folder_are_refused_before_the_work(
    proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = proof.read_bytes()
    code, out, err = invoke(capsys, *FORMULA, "--certificate", proof)
    assert (code, out) == (2, "")
    assert "already exists" in err
    assert proof.read_bytes() == before
    code, out, err = invoke(capsys, *FORMULA, "--certificate", tmp_path)
    assert (code, out) == (2, "")
    assert "folder" in err


def test_unknown_operation_is_named_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from optbench import check_proof as checker

    monkeypatch.delitem(checker.FUNCTIONS, "tanh")
    words = ("classify-critical", "--expr", "tanh(x)", "--box", "-1,1", "--certificate", tmp_path / "p.json")
    code, out, err = invoke(capsys, *words)
    assert (code, out) == (2, "")
    assert "'tanh'" in err
    assert not list(tmp_path.iterdir())


def test_an_operation_without_interval_rule_gets_no_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.py").write_text("import torch\ndef f(x):\n    return torch.digamma(x[..., 0]) + x[..., 1] ** 2\n")
    words = ("classify-critical", "--fn", f"{tmp_path}/s.py:f", "--box", "1,2", "--certificate", tmp_path / "p.json")
    code, out, err = invoke(capsys, *words)
    assert (code, out) == (2, "")
    assert "digamma" in err


def test_a_refused_certificate_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from optbench import check_proof as checker

    def refuse(certificate: checker.Certificate, progress: object = None) -> checker.Verdict:
        raise checker.Refused("cell 0: no")

    monkeypatch.setattr(checker, "check", refuse)
    code, _, err = invoke(capsys, *FORMULA, "--certificate", tmp_path / "p.json")
    assert code == 1
    assert "cell 0: no" in err
    assert not list(tmp_path.iterdir())


def test_check_proof_imports_neither_torch_nor_numpy(proof: Path) -> None:
    code = (
        "import sys\nfrom optbench.cli import main\nsys.argv = ['optbench', 'check-proof', sys.argv[1]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'hydra', 'numba', 'scipy', 'numpy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(proof)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
