"""The book's claims: statistics against independent references, verdicts that follow the numbers, pages of records."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from command_tools import invoke
from figure_words import english
from hypothesis import assume, example, given
from hypothesis import strategies as st
from members import ROOT
from scipy import stats

from applebook import pages, runner, words
from applebook.claim import STRAY, Arm, Claim, Prediction, choose, load_claims, read_claim
from applebook.command import place_of
from applebook.evidence import KINDS, Evidence, Verdict, judge, overall
from applebook.measures import batch_size, more_dimensions
from applebook.runner import describe, read_records, reproduced
from optbench.catalogue import catalogue
from optbench.config import Composer
from optbench.errors import ConfigError
from optbench.language import LANGUAGES, phrases
from optbench.plot import translate
from optbench.plot.translate import translated
from optbench.records import Run

CLAIMS = load_claims()
IDS = [c.id for c in CLAIMS]
TEXT = {"en": "a quantity", "zh": "一个量"}


def prediction(direction: str = "above", threshold: float = 0.0) -> Prediction:
    return Prediction("p", TEXT, direction, threshold)


# statistics -----------------------------------------------------------------------------------------------------------


def test_mean_difference_is_welchs() -> None:
    rng = np.random.default_rng(1)
    left, right = rng.normal(1.0, 2.0, 12), rng.normal(0.0, 0.5, 7)
    found = Evidence("mean difference", left, right).estimate
    reference = stats.ttest_ind(left, right, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=1e-12)


def test_mean_and_pairs_are_students() -> None:
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=9), rng.normal(size=9)
    reference = stats.ttest_rel(left, right).confidence_interval(0.95)
    found = Evidence("paired difference", left, right).estimate
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=1e-12)
    alone = stats.ttest_1samp(left, 0.0).confidence_interval(0.95)
    found = Evidence("mean", left, right).estimate
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), rel=1e-12)


def test_ratio_of_geometric_means() -> None:
    found = Evidence("ratio", [1.0, 100.0, 10.0], [2.0, 2.0, 2.0]).estimate
    assert found.value == pytest.approx(5.0)
    logs = stats.ttest_1samp(np.log([0.5, 50.0, 5.0]), 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(logs.low), math.exp(logs.high)), rel=1e-12)


def test_share_difference_is_newcombes_published_example() -> None:
    """R. G. Newcombe, Stat. Med. 17 (1998) 873, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10."""
    for (a, n), (b, m), interval in (((56, 70), (48, 80), (0.0524, 0.3339)), ((9, 10), (3, 10), (0.1705, 0.8090))):
        found = Evidence("share difference", [1] * a + [0] * (n - a), [1] * b + [0] * (m - b)).estimate
        assert (round(found.low or 0, 4), round(found.high or 0, 4)) == interval


def test_wins_counts_ties_as_halves_and_infinity_as_never() -> None:
    found = Evidence("wins", [1, 2, math.inf, math.inf], [2, 2, 5, math.inf]).estimate
    assert found.value == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)
    assert stats.binomtest(8, 10).proportion_ci(method="wilson").low == pytest.approx(
        Evidence("wins", [0] * 8 + [1] * 2, [0.5] * 10).estimate.low
    )


def test_agreement_is_relative_to_the_largest() -> None:
    assert Evidence("agreement", [1.0, 10.0], [1.5, 10.0], rival=[0.0, 0.0]).estimate.value == pytest.approx(0.05)


ANY = st.lists(st.floats(allow_nan=False), min_size=1, max_size=6)
FINITE = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6)
UNIT = st.lists(st.floats(-1, 1).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=2, max_size=6)


@given(UNIT, UNIT, st.integers(-1000, 1020))
@example([0.25, 0.75], [0.0, 0.5], -700)
@example([0.25, 0.75], [0.0, 0.5], 700)
def test_intervals_do_not_depend_on_the_unit(left: list[float], right: list[float], power: int) -> None:
    assume(np.ptp(left) > 1e-3 and np.ptp(right) > 1e-3)
    sides = np.ldexp(left, power), np.ldexp(right, power)
    of_difference = stats.ttest_ind(left, right, equal_var=False).confidence_interval(0.95)
    of_mean = stats.ttest_1samp(left, 0.0).confidence_interval(0.95)
    for kind, reference in (("mean difference", of_difference), ("mean", of_mean)):
        found = Evidence(kind, *sides).estimate
        with np.errstate(over="ignore"):
            low, high = np.ldexp([reference.low, reference.high], power).tolist()
        within = 1e-9 * abs(math.ldexp(1.0, power))
        assert (found.low, found.high) == (pytest.approx(low, 1e-9, within), pytest.approx(high, 1e-9, within))
        assert found.coverage == 0.95


@given(st.sampled_from(sorted(set(KINDS) - {"agreement"})), ANY, ANY, st.booleans())
@example("mean", [1e-200, 3e-200], [0.0], True)
@example("mean", [1e200, 3e200], [0.0], True)
@example("ratio", [1e-300, 1e300], [1.0], True)
@example("ratio", [0.0, 1.0], [0.0], True)
@example("paired difference", [1e308, 1e308], [-1e308, 1e308], True)
@example("mean difference", [math.inf, 1.0], [math.inf], True)
def test_evidence_of_any_numbers_has_an_interval(kind: str, left: list[float], right: list[float], cut: bool) -> None:
    if kind in ("wins", "paired difference") or cut:
        left, right = left[: len(right)], right[: len(left)]
    if kind == "ratio":
        left, right = [abs(v) for v in left], [abs(v) for v in right]
    evidence = Evidence(kind, left, right)
    found = evidence.estimate
    if len(left) == 1 or (len(right) == 1 and kind not in ("mean", "share")):
        assert (found.low, found.high, found.coverage) == (None, None, None)
        assert judge(prediction("above", -math.inf), evidence).verdict is Verdict.UNDECIDED
        return
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high or (math.isnan(found.value) and found.low < found.high)
    if kind != "ratio" and all(map(math.isfinite, [*left, *right])):
        assert not math.isnan(found.value)
    if kind in ("mean", "mean difference"):
        drawn = len({*left}) > 1 or (kind == "mean difference" and len({*right}) > 1) or not np.isfinite(left).all()
        assert (found.coverage is not None) == (drawn or (kind != "mean" and not np.isfinite(right).all()))
    for side in ("above", "below"):
        assert judge(prediction(side, 0.5), evidence).verdict in Verdict


@given(FINITE, st.data())
@example([1e308], None)
def test_agreement_of_any_numbers(right: list[float], data: st.DataObject | None) -> None:
    other = st.lists(st.floats(allow_nan=False), min_size=len(right), max_size=len(right))
    left = [-v for v in right] if data is None else data.draw(other)
    found = Evidence("agreement", left, right, right).estimate
    if all(map(math.isfinite, left)):
        exact = max(abs(Fraction(a) - Fraction(b)) for a, b in zip(left, right, strict=True))
        exact /= max(abs(Fraction(v)) for v in right) or 1
        assert found.value == pytest.approx(float(exact) if exact < 2**1024 else math.inf, rel=1e-12, abs=5e-324)
    else:
        assert found.value == math.inf
    assert Evidence("agreement", right, right, left).estimate.value == 0


def test_agreement_where_something_never_happens() -> None:
    def found(left: list[float], right: list[float]) -> float:
        return Evidence("agreement", left, right, right).estimate.value

    assert found([math.inf, 1.5], [math.inf, 2.0]) == 0.25
    assert found([1.0], [math.inf]) == found([-math.inf], [math.inf]) == found([math.inf], [1.0]) == math.inf
    never = Evidence("agreement", [1.0], [math.inf], [1.0])
    assert judge(prediction("below", 1e-6), never).verdict is Verdict.NOT_SUPPORTED
    assert judge(prediction("below", 1e-6), never.swapped()).verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("kind", "left", "right", "rival"),
    [("mean", [], [1], None), ("mean", [math.nan], [1], None), ("wins", [1, 2], [1], None), ("sum", [1], [1], None),
     ("agreement", [1], [1], None), ("mean", [1], [1], [1]), ("ratio", [-1], [1], None), ("ratio", [1], [-1], None)],
)  # fmt: skip
def test_evidence_that_is_none(kind: str, left: list[float], right: list[float], rival: list[float] | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        Evidence(kind, left, right, rival)


# verdicts -------------------------------------------------------------------------------------------------------------

EFFECTS = {
    "mean": ([1.0, 1.1, 0.9], [0.0, 0.1, -0.1]),
    "mean difference": ([1.0, 1.1, 0.9], [0.0, 0.1, -0.1]),
    "paired difference": ([1.0, 1.1, 0.9], [0.0, 0.15, -0.1]),
    "ratio": ([10.0, 11.0, 9.0], [1.0, 1.1, 0.9]),
    "share": ([1.0] * 40, [0.0] * 40),
    "share difference": ([1.0] * 20, [0.0] * 20),
    "wins": ([1.0] * 20, [2.0] * 20),
    "agreement": ([1.0, 2.0], [1.0, 2.0]),
}
THRESHOLDS = {"mean": 0.5, "ratio": 1.0, "share": 0.5, "wins": 0.5, "agreement": 1e-6}


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_the_sides_turns_the_verdict(kind: str) -> None:
    left, right = EFFECTS[kind]
    evidence = Evidence(kind, left, right, [2.0, 1.0] if kind == "agreement" else None)
    stated = prediction("below" if kind == "agreement" else "above", THRESHOLDS.get(kind, 0.0))
    assert judge(stated, evidence).verdict is Verdict.SUPPORTED
    assert judge(stated, evidence.swapped()).verdict is Verdict.NOT_SUPPORTED


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.lists(st.floats(-5, 5), min_size=2, max_size=8),
    st.floats(-10, 10), st.sampled_from(["above", "below"]),
)  # fmt: skip
def test_a_verdict_says_where_the_interval_lies(left: list[float], right: list[float], at: float, side: str) -> None:
    evidence = Evidence("mean difference", left, right)
    found = judge(prediction(side, at), evidence)
    low, high = found.estimate.low, found.estimate.high
    assert low is not None
    assert high is not None
    inside = low > at if side == "above" else high < at
    outside = high <= at if side == "above" else low >= at
    expected = Verdict.SUPPORTED if inside else Verdict.NOT_SUPPORTED if outside else Verdict.UNDECIDED
    assert found.verdict is expected
    assert low <= found.estimate.value <= high


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"agreement"}))
@pytest.mark.parametrize("side", ["above", "below"])
def test_one_run_decides_nothing(kind: str, side: str) -> None:
    for left, right in (([1.0], [0.5]), ([1.0], [0.5, 0.5]), ([0.5, 0.5], [1.0])):
        if kind in ("wins", "paired difference") and len(left) != len(right):
            continue
        found = judge(prediction(side, 1e-9), Evidence(kind, left, right))
        alone = len(left) == 1 or kind not in ("mean", "share")
        assert (found.verdict is Verdict.UNDECIDED) == alone
        if alone:
            said = words.measured({key: getattr(found.estimate, key) for key in ("value", "low", "high")})
            assert "[" not in said


def test_quick_runs_withhold_what_they_cannot_judge() -> None:
    (claim,) = choose(CLAIMS, ["stalls"])
    numbers = {p.id: Evidence("mean", [9.0, 9.1], [0.0]) for p in claim.predictions}
    for quick in (False, True):
        record = describe(claim, numbers, quick)
        found = {p["id"]: p["verdict"] for p in record["predictions"]}
        assert found == {p.id: "withheld" if quick and not p.quick else "supported" for p in claim.predictions}
        assert record["verdict"] == ("depends" if quick else "supported")
        assert ("by --quick" in words.verdict_of(record, "en")) == quick
        assert ("--quick" in words.verdict_of(record, "zh")) == quick


def test_a_claim_depends_unless_all_agree() -> None:
    yes = judge(prediction("above", 0.0), Evidence("mean", [1.0, 1.0], [0.0]))
    no = judge(prediction("above", 2.0), Evidence("mean", [1.0, 1.0], [0.0]))
    open_ = judge(prediction("above", 1.0), Evidence("mean", [0.5, 1.5, 1.2], [0.0]))
    assert overall([yes, yes]) is Verdict.SUPPORTED
    assert overall([no]) is Verdict.NOT_SUPPORTED
    assert overall([yes, no]) is overall([open_]) is overall([yes, open_]) is Verdict.DEPENDS


# the claims' files ----------------------------------------------------------------------------------------------------


def test_the_chapter_is_complete_and_in_the_order_of_the_text() -> None:
    assert [c.number for c in CLAIMS] == list(range(1, len(CLAIMS) + 1))
    assert len(CLAIMS) >= 15
    for tongue in LANGUAGES:
        sections = [tuple(map(int, found.split("."))) for c in CLAIMS if (found := place_of(c, tongue))[0].isdigit()]
        assert sections == sorted(sections)
        assert {(3, 3, 1), (3, 3, 2), (3, 3, 3)} <= set(sections)
        assert len(sections) == len(CLAIMS) - 1, "the homework has no section, and is the last"


@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_a_claim_is_stated_in_both_languages(claim: Claim) -> None:
    texts = [claim.section, claim.title, claim.says, claim.setup, *(p.quantity for p in claim.predictions)]
    texts += [*claim.figures.values(), *claim.tables.values()]
    for text in texts:
        assert text["en"]
        assert re.search(r"[\u4e00-\u9fff]", text["zh"]), text
        assert not STRAY.search(text["zh"]), "a line break of the YAML inside Chinese text"
    assert claim.predictions
    assert claim.figures, "people look before they read"
    assert len({p.id for p in claim.predictions}) == len(claim.predictions)


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_every_arm_composes_and_quick_is_less(claim: Claim, composer: Composer) -> None:
    for arm in claim.arms:
        work = []
        for quick in (False, True):
            overrides = [re.sub(r"^seeds=(\d+)$", r"seed=range(\1)", o) for o in arm.overrides(quick)]
            grid = composer.grid([*([] if arm.alone else [claim.experiment]), *overrides])
            config = next(iter(grid)).composed.config
            assert "claim" not in config
            trainer = config["trainer"]
            work.append(grid.count * float(trainer["steps"] or trainer["epochs"]))
        assert 0 < work[1] <= work[0], arm.name


@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_the_overlay_runs_by_hand(claim: Claim, composer: Composer) -> None:
    assert "claim" not in next(iter(composer.grid([claim.experiment]))).composed.config


def test_what_a_claim_says_is_no_part_of_its_runs() -> None:
    with Composer() as composer:
        plain = composer.compose(["model=two_well"]).config
        told = composer.compose(["experiment=book/momentum", "trainer.start=usual", "trainer.steps=1000"]).config
    assert {k: v for k, v in told.items() if k != "choices"} | {"optimizer": 0} == {
        k: v for k, v in plain.items() if k != "choices"
    } | {"optimizer": 0}


def test_later_overrides_replace_earlier_ones_of_the_same_key() -> None:
    arm = Arm("a", ("seeds=20", "trainer.steps=9"), ("seed=1,2", "trainer.steps=3"))
    assert arm.overrides(False) == ["seeds=20", "trainer.steps=9"]
    assert arm.overrides(True) == ["seed=1,2", "trainer.steps=3"]


def test_choosing_by_name_and_number() -> None:
    assert [c.id for c in choose(CLAIMS, ["momentum"])] == [c.id for c in choose(CLAIMS, ["5"])] == ["momentum"]
    assert choose(CLAIMS, []) == CLAIMS
    assert choose(CLAIMS, [5, "momentum"]) == choose(CLAIMS, ["momentum"])
    with pytest.raises(ConfigError, match="there is no claim"):
        choose(CLAIMS, [["momentum"]])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="momentun") as caught:
        choose(CLAIMS, ["momentun"])
    assert "momentum" in caught.value.hint


@pytest.mark.parametrize("spoil", ["number", "predictions", "measure", "title"])
def test_an_incomplete_claim_is_named(spoil: str, tmp_path: Path) -> None:
    tree = yaml.safe_load((ROOT / "conf/experiment/book/momentum.yaml").read_text(encoding="utf-8"))
    del tree["claim"][spoil]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(ConfigError, match=spoil):
        read_claim(path)


# a claim of one's own -------------------------------------------------------------------------------------------------

OWN = """\
# @package _global_
# gradient descent against itself at a tenth of the rate
defaults: [{override /model: sphere}]
trainer: {steps: 20, start: random}
hydra: {sweeper: {params: {optimizer: gd, optimizer.lr: "1e-1,1e-2", seed: range(3)}}}
claim:
  number: 99
  section: {en: none, zh: 无}
  title: {en: Larger is faster, zh: 越大越快}
  says: {en: "A larger rate | is faster.", zh: 学习率大就快。}
  setup: {en: A round bowl., zh: 圆碗。}
  measure: own_measure
  predictions:
    - {id: faster, quantity: {en: loss, zh: 损失}, direction: above, threshold: 0.5}
  arms: {main: {quick: [trainer.steps=5]}}
  figures: {empty: {en: nothing, zh: 空}}
  tables: {ends: {en: final losses, zh: 最终损失}}
"""
MEASURE = """\
from matplotlib.figure import Figure
from applebook.evidence import Evidence
from applebook.study import Findings
def measure(study):
    sides = [[r.summary["final_loss"] for r in study.runs(optimizer__lr=rate)] for rate in (0.1, 0.01)]
    rows = [{"rate": rate, "loss": side[0]} for rate, side in zip((0.1, 0.01), sides)]
    return Findings({"faster": Evidence("wins", *sides)}, {"empty": Figure()}, {"ends": rows})
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "conf" / "experiment" / "book").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "book" / "own.yaml").write_text(OWN, encoding="utf-8")
    (tmp_path / "own_measure.py").write_text(MEASURE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_measure", None)


class Later(datetime):
    """A clock that is an hour ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(hours=1)


def test_a_claim_from_its_runs_to_its_page(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = reproduced(["own"], config_dir=own / "conf")
    folder = own / "outputs" / "book"
    assert record["verdict"] == "depends"  # 3 of 3, but Wilson's interval of 3 holds a half
    assert record["runs"] == {"main": 6}
    (found,) = record["predictions"]
    wilson = stats.binomtest(3, 3).proportion_ci(method="wilson")
    assert (found["value"], found["low"]) == (1.0, pytest.approx(wilson.low))
    (read,) = read_records(folder)
    assert read["predictions"][0]["low"] == found["low"]
    lines = (folder / "own" / "evidence.csv").read_text().splitlines()
    assert lines[0] == "prediction,side,value"
    assert len(lines) == 7
    made = pages.write_docs(read_records(folder), folder, own / "docs")
    assert {p.name for p in made} == {"book.json", "book.md", "book.zh-CN.md", "gallery.md"}
    page = (own / "docs" / "book.md").read_text(encoding="utf-8")
    assert "| loss | above 0.5 | 1 [" in page
    assert "| rate | loss |" in page
    for link in re.findall(r"\]\(([^)#]+)", page):
        assert (own / "docs" / link).exists(), link
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("runs.parquet")}
    assert before
    monkeypatch.setattr(runner, "datetime", Later)
    list(reproduced(["own"], config_dir=own / "conf"))
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("runs.parquet")} == before, "done runs are not repeated"
    (again,) = read_records(folder)
    assert again["seconds"] == read["seconds"] > 0, "what took no runs does not count as the time of these"


def test_the_html_page_stands_alone_and_fits_a_telephone(own: Path) -> None:
    list(reproduced(["own"], quick=True, config_dir=own / "conf"))
    folder = own / "outputs" / "book-quick"
    for language, word in (("en", "Larger is faster"), ("zh", "越大越快")):
        text = pages.html(read_records(folder), folder, language)
        assert word in text
        assert text.count("<table>") == text.count('<div class="wide"><table>') == 3
        assert 'name="viewport" content="width=device-width' in text
        assert "reproduce --html</code>" in text, "how it was made"
        assert "--docs" not in text
        sources = re.findall(r'src="([^"]{0,30})', text)
        assert sources
        assert all(s.startswith("data:image/png;base64,") for s in sources)


def test_a_page_names_every_machine_that_claims_were_reproduced_on() -> None:
    records = json.loads((ROOT / "docs" / pages.DATA).read_text(encoding="utf-8"))
    places = {str((r["provenance"]["processor"], r["provenance"]["versions"])) for r in records}
    assert ("Claims 1, " in pages.page(records, "en")) == (len(places) > 1)
    for record, machine in zip(records[:3], ("one", "other", "one"), strict=True):
        record["provenance"]["processor"] = machine
    text = pages.page(records[:3], "en")
    runs, other = (sum(sum(r["runs"].values()) for r in records[:3][which]) for which in (slice(0, 3, 2), slice(1, 2)))
    assert re.search(rf"^Claims 1, 3: {runs} runs in .* of one;", text, re.MULTILINE)
    assert re.search(rf"^Claims 2: {other} runs in .* of other;", text, re.MULTILINE)


def test_a_verdict_that_depends_says_on_what() -> None:
    found = [{"verdict": v} for v in ("undecided", "not supported", "undecided")]
    record = {"verdict": "depends", "predictions": found}
    assert words.verdict_of(record, "en") == "depends (3 predictions: 1 not supported, 2 undecided)"
    assert words.verdict_of(record, "zh") == "视条件而定（3 条预测：1 条不成立，2 条未能判定）"


def test_the_tables_of_the_chapter_are_in_chinese() -> None:
    """All that is words: what one types (gd, peaks), names of methods and letters of formulas stay."""
    records = json.loads((ROOT / "docs" / pages.DATA).read_text(encoding="utf-8"))
    rows = [row for r in records for rows in r["tables"].values() for row in rows]
    texts = {text for row in rows for pair in row.items() for text in pair if isinstance(text, str)}
    typed = {entry.name for entry in catalogue()} | {"AdaGrad", "RMSProp"}
    for text in texts - typed:
        if re.search(r"[A-Za-z]{2}", text):
            assert words.phrase(text, "zh") != text
        assert words.phrase(text, "en") == text
    assert words.phrase("2 of 4", "zh") == "2 / 4"
    assert words.phrase("-1.5 to 2e-3", "zh") == "-1.5 到 2e-3"
    for unknown in ("a {heading} of 3", "{0} of nothing"):
        assert words.phrase(unknown, "zh") == unknown


def test_updates_are_timed_on_the_threads_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record says how many; torch by itself takes all cores."""
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(batch_size, "_timed", lambda run, sizes: seen.append(torch.get_num_threads()))
    for threads in (1, 2):
        batch_size._times(Run({"provenance": {"threads": threads}}), [8])
        assert torch.get_num_threads() == before
    assert seen == [1, 2]


def test_the_finite_sum_of_claim_5_has_a_saddle_where_its_samples_pull_apart() -> None:
    samples = torch.tensor(batch_size.SAMPLES)

    def losses(w: torch.Tensor) -> torch.Tensor:
        return 1 - torch.exp(-(w - samples).square().sum(-1) / 2)

    zero, beside = torch.zeros(2, dtype=torch.float64), torch.tensor(batch_size.BESIDE, dtype=torch.float64)
    assert torch.autograd.functional.jacobian(losses, zero).norm(dim=-1).min() > 0.1
    curvature = torch.linalg.eigvalsh(torch.autograd.functional.hessian(lambda w: losses(w).mean(), zero))
    assert curvature[0] < 0 < curvature[1]
    assert not batch_size._descent((0.0, 0.0), None).any(), "all samples together never move"
    gradient = torch.autograd.functional.jacobian(losses, beside)
    steady, noisy = (batch_size._descent(batch_size.BESIDE, size) for size in (None, 1))
    first = (beside - batch_size.SUM_RATE * gradient.mean(dim=0)).numpy()
    np.testing.assert_allclose(steady[1], first, rtol=1e-12)
    each = (beside - batch_size.SUM_RATE * gradient).numpy()
    assert np.isclose(each, noisy[1], rtol=1e-12).all(axis=1).sum() == 1


# the command line -----------------------------------------------------------------------------------------------------


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "optbench", "reproduce", *words], capture_output=True, text=True)


def test_the_list_needs_no_torch() -> None:
    code = "import sys; sys.argv = ['optbench', 'reproduce', '--list', '--json']\n" \
           "import optbench.cli\ntry: optbench.cli.main()\nexcept SystemExit: pass\n" \
           "assert 'torch' not in sys.modules and 'hydra' not in sys.modules"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [c["id"] for c in json.loads(done.stdout)] == IDS


def test_mistakes_end_with_exit_code_2() -> None:
    done = command("momentun")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert "momentum" in done.stderr
    assert command("--lang", "fr").returncode == 2


@pytest.mark.parametrize("option", ["--html", "--docs"])
def test_a_page_that_cannot_be_written_is_named_before_any_run(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("applebook.runner.reproduced", lambda *given, **more: pytest.fail("a run began"))
    code, out, err = invoke(capsys, "reproduce", "--quick", option, "file/below/page.html")
    assert (code, out) == (2, "")
    assert err.startswith("error: cannot write file/below/page.html: Not a directory")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# the whole chapter ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("book")
@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_the_verdict_comes_from_the_data(claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim runs; where a prediction is supported, the same numbers with the sides swapped do not support it."""
    from applebook.runner import measured
    from applebook.study import Study
    from optbench.experiment import Stop
    from optbench.launch.sweep import Silent

    study = Study(claim, tmp_path / claim.id, quick=True)
    study.execute(Stop(), Silent())
    findings = measured(study)
    evidence = findings.evidence
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")  # words do not need the glyphs
    for figure in findings.figures.values():
        with translated(figure, "zh", [phrases(words.PHRASES)]):
            assert english(figure) == [], "a text in a figure that phrases.zh.yaml does not have"
    page = {r["id"]: r for r in json.loads((ROOT / "docs" / pages.DATA).read_text(encoding="utf-8"))}[claim.id]
    in_full = {p["id"]: p["verdict"] for p in page["predictions"]}
    for quick in describe(claim, evidence, quick=True)["predictions"]:
        if "time" not in quick["id"]:  # seconds are those of another machine
            assert {quick["verdict"], in_full.get(quick["id"])} != {"supported", "not supported"}, quick["id"]
    for stated in claim.predictions:
        found = evidence[stated.id]
        swapped = judge(stated, found.swapped()).verdict
        if judge(stated, found).verdict is Verdict.SUPPORTED:
            assert swapped is not Verdict.SUPPORTED, stated.id


def test_the_pages_are_those_of_the_records() -> None:
    records = json.loads((ROOT / "docs" / pages.DATA).read_text(encoding="utf-8"))
    assert [r["id"] for r in records] == IDS
    assert not any(r["quick"] for r in records)
    for name, text in pages.rendered(records).items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, (
            f"docs/{name}: optbench reproduce --docs docs"
        )
    for record in records:
        stated = next(c for c in CLAIMS if c.id == record["id"])
        assert [p["id"] for p in record["predictions"]] == [p.id for p in stated.predictions]
        for found, p in zip(record["predictions"], stated.predictions, strict=True):
            assert (found["direction"], found["threshold"]) == (p.direction, p.threshold), record["id"]


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 4, 5])
def test_random_surfaces_still_have_the_points_that_the_book_counts(dim: int) -> None:
    """The searches of claim 3, which no run records, give what stands in docs/book.json."""
    records = json.loads((ROOT / "docs" / "book.json").read_text(encoding="utf-8"))
    (record,) = [r for r in records if r["id"] == "more_dimensions"]
    (row,) = [r for r in record["tables"]["dimensions"] if r["dimension"] == dim]
    found = [more_dimensions._surface(dim, seed) for seed in range(row["surfaces"])]
    assert sum(s.points for s in found) == row["critical points"]
    assert sum(s.minima for s in found) == round(row["minima"] * row["critical points"])
