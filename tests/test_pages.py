"""Pages: the same numbers as JSON, nothing of a file as markup, a policy that is the page's own, reasons."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import invoke
from hostile import hostile_names
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run

from optbench import comparison
from optbench.catalogue import packaged_metrics
from optbench.comparison.learning import band, extremes
from optbench.errors import DataError
from optbench.pages import Ground, Spot, document, page
from optbench.pages.document import Asked
from optbench.pages.embed import HERE, LIBRARY, LIBRARY_STYLE, embedded
from optbench.pages.networks import Example, Looked, Networks
from optbench.pages.words import Words, script_phrases
from optbench.records import Run
from optbench.records.seal import sum_of_bytes
from optbench.statistics import STATISTICS
from optbench.statistics.of_metrics import of_metric

SUMS = {
    LIBRARY: "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    LIBRARY_STYLE: "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    LIBRARY.with_name("LICENSE"): "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
"""SHA-256 of uPlot 1.6.32 as its authors publish it."""
NETWORK: dict[str, Any] = {
    "model": "mlp", "data": "digits", "loss_name": "cross_entropy", "val_accuracy": 0.5, "best_val_accuracy": 0.5,
}  # fmt: skip
TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(hostile_names(525))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12,
)  # fmt: skip


class Reader(html.parser.HTMLParser):
    """The elements of a page, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("", {}, []))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(texts)) for name, attributes, texts in self.found if name == tag]


def data_of(text: str) -> Any:
    (found,) = [body for attributes, body in Reader(text).of("script") if attributes.get("id") == "data"]
    return json.loads(found)


def test_the_library_is_the_one_that_was_published() -> None:
    for path, known in SUMS.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == known, path.name
    assert "v1.6.32" in LIBRARY.read_text("utf-8")[:80]


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_embedded_json_is_itself_and_has_no_markup(value: Any) -> None:
    text = embedded(value)
    assert not set("<>&'\u2028\u2029") & set(text)
    assert json.loads(text) == json.loads(json.dumps(value))
    text.encode("utf-8")


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded([math.inf])


@given(st.lists(st.floats(-1e9, 1e9) | st.just(math.inf) | st.just(math.nan), min_size=1, max_size=600),
       st.integers(8, 100))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_thinned_line_keeps_its_ends_and_its_extremes(values: list[float], most: int) -> None:
    given_ = np.array(values)
    kept = extremes(given_, most)
    assert len(kept) <= max(most, 8)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    finite = given_[np.isfinite(given_)]
    if len(finite):
        assert finite.min() in given_[kept]
        if np.isfinite(given_).all():
            assert finite.max() in given_[kept]


def test_a_thinned_band_has_the_numbers_that_the_whole_one_has_there() -> None:
    rng = np.random.default_rng(0)
    runs = [(np.arange(3000.0), rng.normal(size=3000).cumsum()) for _ in range(7)]
    whole, few = band(runs, 3000), band(runs, 100)
    assert len(few.moments) <= 100
    at = np.searchsorted(whole.moments, few.moments)
    assert few.low is not None
    assert whole.low is not None
    for mine, theirs in ((few.moments, whole.moments), (few.middle, whole.middle), (few.low, whole.low)):
        assert mine.tolist() == theirs[at].tolist()
    assert few.middle.max() == whole.middle.max()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two optimizers, three learning rates, four seeds; one that diverged, one that failed."""
    folder = tmp_path_factory.mktemp("pages")
    for k, (name, lr, seed) in enumerate(
        (n, lr, s) for n in ("adam", "sgd") for lr in (0.1, 0.01, 0.001) for s in range(4)
    ):
        loss = (1 + seed) * lr * (2.5 if name == "sgd" else 1.0)
        ended = {20: "diverged", 21: "failed"}.get(k, "completed")
        curve = [{"step": s, "evals": s + 1, "loss": loss * 1.1 ** (40 - s), "x0": 0.1 * s, "x1": seed - 0.05 * s}
                 for s in range(41)]  # fmt: skip
        target = f"torch.optim.{'SGD' if name == 'sgd' else 'Adam'}"
        make_run(folder / str(k), {"optimizer._target_": target, "optimizer.lr": lr, "seed": seed}, curve,
                 optimizer=name, final_loss=loss, best_loss=loss, status=ended, reason=f"why {k}")  # fmt: skip
    return folder


def ground(run: Any) -> Ground:
    """A bowl."""
    x = np.linspace(-4, 4, 21)
    return Ground(x, x, x[:, None] ** 2 + x[None, :] ** 2, (Spot((0.0, 0.0), "minimum", True),))


def test_figures_of_the_page_are_those_of_json(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every cell of the table begins with the number of --json, and its interval, to the digits that are shown."""
    place = tmp_path / "report.html"
    code, out, _ = invoke(capsys, "compare", sweep, "--html", place, "--json", "--lang", "en")
    assert code == 0
    first, _, rest = out.partition("\n")
    assert first == str(place)
    groups = {group["configuration"]: group for group in json.loads(rest)["groups"]}
    scores = data_of(place.read_text("utf-8"))["problems"][0]["tables"][0]
    names = [column["name"] for column in scores["head"]]
    assert [row["label"] for row in scores["rows"]] == list(groups)
    compared = 0
    for row in scores["rows"]:
        group = groups[row["label"]]
        cells = dict(zip(names, row["cells"], strict=True))
        assert cells["runs"]["v"] == group["n"]
        for name in set(names) & set(STATISTICS):
            told = [float(part) for part in re.findall(r"-?(?:inf|\d[\d.]*(?:e[-+]?\d+)?)", cells[name]["t"])]
            known = [group[name][end] for end in ("value", "low", "high")]
            for shown, exact in zip(told, known, strict=False):
                assert shown == pytest.approx(math.inf if exact is None else exact, rel=6e-3)
                compared += 1
            if group[name]["value"] is not None:
                assert cells[name]["v"] == group[name]["value"]
    assert compared > 30


def test_the_page_says_everything_that_was_asked(sweep: Path) -> None:
    found = comparison.compare(sweep)
    made = document(found, found, Asked(ground_of=ground, command=["optbench", "compare", "a folder"]))
    (problem,) = made["problems"]
    assert problem["sentence"] == made["verdicts"][0]
    best = found.leader(problem["name"])
    assert best is not None
    assert f"{best.label} is the best of 6" in problem["sentence"]
    curves, paths = problem["figures"]
    assert {(view["what"], view["over"]) for view in curves["views"]} == {("loss", "step"), ("loss", "evaluations")}
    line = next(one for one in curves["views"][0]["lines"] if one["label"] == best.label)
    (group,) = [group for group in found.groups if group.label == best.label]
    ends = [curve["loss"][-1] for curve in (run.columns() for run in group.runs)]
    assert line["y"][-1] == pytest.approx(np.median(ends), rel=1e-4)
    assert [line["low"][-1], line["high"][-1]] == pytest.approx([min(ends), max(ends)], rel=1e-4)
    assert (paths["kind"], paths["spots"]) == ("paths", [{"x": [0.0, 0.0], "type": "minimum", "proved": True}])
    assert len(paths["paths"]) == 6
    kinds = {figure["title"]: figure["kind"] for figure in made["across"]}
    assert kinds["Sensitivity to the learning rate"] == "lines"
    assert kinds["Best of k settings"] == "lines"
    assert kinds["Average ranks"] == "none"  # of one problem
    assert [cell["t"] for cell in made["ends"]["rows"][0]["cells"]][3:5] == ["diverged", "why 20"]
    assert len(made["ends"]["rows"]) == 2
    assert made["command"] == "optbench compare 'a folder'"


def test_a_network_is_asked_once_however_often_a_page_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from optbench.cli.paging import networks_of
    from optbench.prediction import worst

    asked: list[Any] = []
    monkeypatch.setattr(worst, "looked_at", lambda run, which, dirs, count: asked.append((run.run_id, which)) or run)
    networks = networks_of(None, None)
    first, second = Run({"run_id": "a"}), Run({"run_id": "b"})
    for run, which in ((first, "best"), (first, "best"), (second, "best"), (first, "last"), (second, "best")):
        assert networks.looked_at(run, which, 3) is run  # type: ignore[comparison-overlap]
    assert asked == [("a", "best"), ("b", "best"), ("a", "last")]


def test_sensitivity_is_shown_in_what_each_problem_has(sweep: Path, tmp_path: Path) -> None:
    """A surface and a network, which have no score in common that either is ranked by: no view is empty."""
    for k, (lr, seed) in enumerate((lr, s) for lr in (0.1, 0.01) for s in range(2)):
        made_up = NETWORK | {
            "val_accuracy": 0.5 + lr,
            "best_val_accuracy": 0.5 + lr,
            "best_val_loss": lr,
            "val_loss": lr,
        }
        make_run(tmp_path / str(k), {"optimizer.lr": lr, "seed": seed}, final_loss=lr, **made_up)
    found = comparison.compare([sweep, tmp_path])
    made = document(found, found)
    (figure,) = [one for one in made["across"] if one["title"] == "Sensitivity to the learning rate"]
    assert len({view["what"].partition(":")[0] for view in figure["views"]}) == 2, "each problem has a view"
    for view in figure["views"]:
        values = [value for line in view["lines"] for value in line["y"] if value is not None]
        assert values, view
        assert any(map(math.isfinite, values))


def test_why_a_figure_is_not_there(sweep: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "net", {}, [{"step": 0, "epoch": 0.0, "loss": 1.0}, {"step": 9, "epoch": 1.0, "loss": 0.5}],
             **NETWORK)  # fmt: skip
    found = comparison.compare(tmp_path)
    made = document(found, found)
    figures = {one["title"]: one for one in (*made["problems"][0]["figures"], *made["across"])}
    assert "trainer.curvature_every" in figures["Curvature along training"]["why"]
    assert figures["Confusion matrices"]["command"].startswith("optbench evaluate ")
    assert figures["Sensitivity to the learning rate"]["kind"] == "none"
    assert all("--figure" not in one["why"] for one in figures.values() if one["kind"] == "none")
    found = comparison.compare(sweep, group_by="optimizer")
    each = comparison.compare(sweep)
    assert document(found, each)["problems"][0]["figures"][1]["why"] == "the surface cannot be had here"


def test_confusion_is_counted_from_kept_predictions(tmp_path: Path) -> None:
    kept = b"image,fold,label,cat,dog\na.png,0,0,0.9,0.1\nb.png,0,0,0.2,0.8\nc.png,0,1,0.4,0.6\nd.png,0,1,0.7,0.3\n"
    facts = {
        "model": "mlp",
        "data": "digits",
        "loss_name": "cross_entropy",
        "val_accuracy": 0.5,
        "best_val_accuracy": 0.5,
    }
    provenance = {"files": {"out_of_fold.csv": sum_of_bytes(kept)}}
    folder = make_run(tmp_path / "net", {}, [{"step": 0, "epoch": 0.0, "loss": 1.0}], **facts, provenance=provenance)
    (folder / "out_of_fold.csv").write_bytes(kept)
    found = comparison.compare(tmp_path)
    (one,) = document(found, found)["problems"][0]["figures"][-1]["matrices"]
    assert (one["classes"], one["counts"], one["wrong"]) == (["cat", "dog"], [[1, 1], [1, 1]], 2)
    assert [image["image"] for image in one["worst"]] == ["b.png", "d.png"]
    (folder / "out_of_fold.csv").write_bytes(kept.replace(b"0.9", b"0.8"))
    figure = document(found, found)["problems"][0]["figures"][-1]
    assert "checksum" in figure["why"]


def test_networks_are_asked_where_it_is_quick_and_why_not_is_said(tmp_path: Path) -> None:
    """The best configuration's alone, and as many as were allowed."""
    weights = {"files": {"best.pt": "0"}}
    for k, (model, optimizer, accuracy) in enumerate((("mlp", "adam", 0.9), ("mlp", "sgd", 0.5), ("cnn", "adam", 0.7))):
        facts = {**NETWORK, "model": model, "optimizer": optimizer, "val_accuracy": accuracy}
        slow = {"epochs": 2.0, "seconds": 50.0 if model == "cnn" else 1.0, "best_val_accuracy": accuracy}
        make_run(tmp_path / str(k), {"model.name": model, "optimizer.name": optimizer}, [], **facts | slow,
                 provenance=weights)  # fmt: skip
    asked = []

    def looked_at(run: Run, checkpoint: str | None, count: int) -> Looked:
        asked.append(run.summary["optimizer"])
        worst = [Example("<b>.png", 2.5, "cat", "dog", 0.75, b"\x89PNG")]
        return Looked(run.run_id, 4, ("cat", "dog"), [[1, 1], [0, 2]], worst)

    def figures(networks: Networks | None) -> list[Any]:
        made = document(found, found, Asked(networks=networks))
        return [problem["figures"][-1] for problem in made["problems"]]

    found = comparison.compare(tmp_path)
    cnn, mlp = figures(Networks(looked_at, lambda *given: {}))
    assert asked == ["adam"]
    (one,) = mlp["matrices"]
    assert (one["counts"], one["wrong"], one["worst"]) == ([[1, 1], [0, 2]], 1, [
        {"image": "<b>.png", "true": "cat", "said": "dog", "share": 0.75, "loss": 2.5, "png": "iVBORw=="},
    ])  # fmt: skip
    assert "--worst 1" in cnn["why"]
    assert [figure["kind"] for figure in figures(Networks(looked_at, lambda *given: {}, 1))] == ["confusion", "none"]
    assert asked == ["adam", "adam"]
    assert "no more networks" in figures(Networks(looked_at, lambda *given: {}, 0))[0]["why"]

    def refuses(run: Run, checkpoint: str | None, count: int) -> Looked:
        raise DataError("food: no such folder now")

    assert "not asked: food: no such" in figures(Networks(refuses, lambda *given: {}, 9))[1]["why"]
    assert "asked" not in figures(None)[0]["why"]


def test_a_curve_that_was_changed_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        make_run(
            tmp_path / str(seed), {"seed": seed}, provenance={"files": {"metrics.csv": "00000000"}} if seed else {}
        )
    code, out, err = invoke(capsys, "compare", tmp_path, "--html", tmp_path / "a.html", "--lang", "en")
    assert (code, out) == (0, f"{tmp_path / 'a.html'}\n")
    assert "metrics.csv: it was changed after the run" in err
    made = data_of((tmp_path / "a.html").read_text("utf-8"))
    assert made["unread"] == err.splitlines()
    assert made["problems"][0]["figures"][0]["notes"][:2] == [
        "each line: one run", "of these 1 of 2 runs have a recorded curve",
    ]  # fmt: skip


def test_only_our_scripts_are_in_the_page_and_the_policy_names_them(tmp_path: Path) -> None:
    for i, name in enumerate(hostile_names(25)):
        make_run(
            tmp_path / str(i), {"optimizer.name": name}, [], optimizer=name, model=name, reason=name, status="failed"
        )
    found = comparison.compare(tmp_path)
    text = page(document(found, found, Asked(command=hostile_names(3))))
    read = Reader(text)
    scripts = read.of("script")
    assert [attributes for attributes, _ in scripts] == [{"type": "application/json", "id": "data"}, {}, {}]
    assert not [(tag, name) for tag, attributes, _ in read.found for name in attributes if name.startswith("on")]
    assert {tag for tag, _, _ in read.found} <= {
        "", "html", "head", "meta", "title", "style", "body", "noscript", "p", "div", "script"
    }  # fmt: skip
    (policy,) = [a["content"] for a, _ in read.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    for body in [script for attributes, script in scripts if not attributes] + [body for _, body in read.of("style")]:
        assert base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() in str(policy)
    assert "default-src 'none'" in str(policy)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", (HERE / "page.js").read_text()
    )
    shown = json.dumps(data_of(text), ensure_ascii=False)
    assert not [sign for sign in shown if not sign.isprintable()]


def test_a_page_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["compare", "nowhere", "--html", tmp_path / "a.pdf"], "expected a file ending in .html"),
        (["compare", tmp_path, "--html", tmp_path / "a.html"], "no runs"),
    ):
        code, out, err = invoke(capsys, *words)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) <= 3


def strings(value: Any) -> Iterator[str]:
    """Every text in plain data, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def test_a_chinese_page_leaves_nothing_in_english(sweep: Path) -> None:
    found = comparison.compare(sweep)
    made = document(found, found, Asked(language="zh", ground_of=ground))
    assert made["title"] == "比较 24 次运行"
    three = re.compile(r"(?:\b[a-z]{2,}\b[ ,]+){2,}\b[a-z]{2,}\b")
    assert [text for text in strings(made) if three.search(text)] == []
    missing = [phrase for phrase in script_phrases() if Words("zh")(phrase) == phrase]
    assert missing == []


def test_what_the_script_says_is_found() -> None:
    assert {"filter", "play", "true class", "theme: dark"} <= set(script_phrases())
    assert Words("en").of_script() == {}


def test_scores_of_metrics_are_chinese_on_a_chinese_page() -> None:
    """What conf/ has, and one of one's own, of which nothing is known but its name."""
    said = Words("zh")
    described = [(one.name, one.description, one.direction) for one in packaged_metrics().values()]
    for name, description, direction in [*described, ("within", "", "max")]:
        for score, which in zip(of_metric(name, description, direction), ("最好", "最后"), strict=True):
            rule = said.sentence(score.rule)
            assert said(score.title) == f"{name}（{which}）"
            assert said.sentence(f"{score.title}: {score.rule}") == f"{name}（{which}）：{rule}"
            left = set(re.findall(r"[A-Za-z]{2,}", rule)) - set(re.findall(r"[A-Za-z]+", name))
            assert left <= {
                "best",
                "last",
                "pt",
                "inf",
                "exp",
                "log",
                "softmax",
                "TP",
                "FP",
                "FN",
                "Guo",
                "van",
                "Rijsbergen",
            }
