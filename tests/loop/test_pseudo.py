"""trainer.unlabelled: pseudo-labels against a loop written here, resumed to the bit, identified by their pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_tools import invoke
from loop_tools import CPU, Dots, Watcher, gd, linear, loop_of
from torch import Tensor, nn

import optbench
from optbench import report
from optbench.augment.whole_batch import WholeBatch
from optbench.errors import ConfigError, DataError, IncompatibleError
from optbench.experiment import plan_run, plan_sweep
from optbench.loop import Loop
from optbench.problem import AbstractAugmentation, NetworkProblem, Split, stream
from optbench.problem.pseudo import PseudoLabels, Rule
from optbench.records.vocabulary import _PSEUDO, run_id
from optbench.settings import PSEUDO, NetworkTrainer

FOOD = ("model=mlp", "model.hidden=[16]", "data=synthetic_food", "data.image_size=16", "data.train_per_class=2",
        "data.validation_per_class=1", "data.n_test=12", "trainer.epochs=3", "trainer.batch_size=8",
        "trainer.threads=1")  # fmt: skip
RULE = Rule(threshold=0.7, start=1, every=1, weight=0.5, ramp=2)
N, HELD, BATCH, STEPS = 20, 37, 6, 4


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def unlabelled(labels: bool = True) -> Split:
    found = Dots(HELD).load("train")
    return found if labels else Split(found.images, None, found.names)


def made(
    rule: Rule | None = RULE,
    model: nn.Module | None = None,
    augmentation: AbstractAugmentation | None = None,
    stop_after: int | None = None,
    accumulate: int = 1,
    **settings: Any,
) -> tuple[Loop, Watcher]:
    trainer = NetworkTrainer(**{"batch_size": BATCH, "epochs": 5, "threads": 1} | settings)
    pseudo = None if rule is None else PseudoLabels(unlabelled(), rule, 0)
    loss = nn.CrossEntropyLoss(reduction="none")
    size = BATCH // accumulate
    problem = NetworkProblem(model or linear(), Dots(N), loss, size, 0, CPU, augmentation,
                             accumulate=accumulate, pseudo=pseudo)  # fmt: skip
    return loop_of(problem, trainer, gd(0.5), stop_after=stop_after)


def numbers(watcher: Watcher) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in watcher.rows]


def by_hand(rule: Rule, epochs: int = 5) -> tuple[nn.Module, list[float], list[list[int]], list[float]]:
    """Weights, losses, what was taken when, and training accuracies of plain gradient descent, written again."""
    model, data, extra = linear(), Dots(N).load("train"), unlabelled()
    assert data.labels is not None
    assert extra.labels is not None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    kept: list[tuple[int, int]] = []
    losses, account, accuracies = [], [], []
    for epoch in range(epochs):
        if epoch >= rule.start and (epoch - rule.start) % rule.every == 0:
            with torch.no_grad():
                shares = torch.softmax(model(extra.images / 255.0).double(), dim=1)
            kept = [(i, int(p.argmax())) for i, p in enumerate(shares) if float(p.max()) >= rule.threshold]
            account.append([epoch, len(kept), sum(int(extra.labels[i]) == label for i, label in kept)])
        order = torch.randperm(N, generator=stream(0, "order", epoch)).tolist()
        other = torch.randperm(len(kept), generator=stream(0, "pseudo order", epoch)).tolist()[: STEPS * BATCH]
        weight = rule.weight * min(1.0, (epoch - rule.start + 1) / (rule.ramp + 1))
        right = 0
        for k in range(STEPS):
            rows = order[k * BATCH : (k + 1) * BATCH]
            mine = [kept[i] for i in other[k * len(other) // STEPS : (k + 1) * len(other) // STEPS]]
            total, outputs = torch.zeros(()), model(data.images[rows] / 255.0)
            right += int((outputs.argmax(1) == data.labels[rows]).sum())
            total = total + nn.functional.cross_entropy(outputs, data.labels[rows], reduction="sum")
            if mine:
                index, guesses = (torch.tensor(part) for part in zip(*mine, strict=True))
                shown = model(extra.images[index] / 255.0)
                total = total + weight * nn.functional.cross_entropy(shown, guesses, reduction="sum")
            loss = total / (len(rows) + weight * len(mine))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        accuracies.append(right / N)
    return model, losses, account, accuracies


@pytest.mark.parametrize(
    "rule", [RULE, Rule(0.55, 0, 2, 1.0, 0), Rule(0.5, 2, 3, 3.0, 1)], ids=["ramp", "from the start", "all of them"]
)
def test_a_run_is_that_of_a_loop_written_again(rule: Rule) -> None:
    loop, watcher = made(rule)
    loop.run()
    model, losses, account, accuracies = by_hand(rule)
    assert any(row[1] > 0 for row in account), "the test wants pictures to be taken"
    assert [row["loss"] for row in watcher.rows if "loss" in row] == pytest.approx(losses, rel=1e-5)
    ends = [row["train_accuracy"] for row in watcher.rows if "train_accuracy" in row]
    assert ends == accuracies  # of the labelled pictures alone
    for ours, theirs in zip(loop.problem.module.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    told = loop.problem.pseudo.account()  # type: ignore[attr-defined]
    assert [list(row) for row in zip(told["epochs"], told["taken"], told["right"], strict=True)] == account
    assert sum(told["classes"]) == account[-1][1]


def test_all_that_are_sure_are_passed_once_an_epoch() -> None:
    loop, _ = made(Rule(0.5, 0, 1, 1.0, 0))  # of two classes one has half of the probability
    problem = loop.problem
    problem.begin_epoch(0)
    batches = [problem.batch(k) for k in range(STEPS)]
    sizes = [len(batch) for batch in batches]
    assert sum(sizes) == N + min(HELD, STEPS * BATCH)
    assert all(batch.guesses is not None for batch in batches)
    assert [int(b.guesses.targets.sum()) for b in batches if b.guesses] == [BATCH] * STEPS


def test_none_that_is_sure_changes_nothing() -> None:
    """Nor does what is looked at: no draw, no statistic of batch norm."""

    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 2))

    (plain, without), (loop, watcher) = made(None, model()), made(Rule(1.0, 0, 1, 1.0, 0), model())
    assert plain.run().final_loss == loop.run().final_loss
    assert numbers(without) == numbers(watcher)
    assert loop.problem.pseudo.account()["taken"] == [0] * 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("stop_after", [3, 4, 5, 8, 11, 12, 19])
def test_an_interrupted_run_goes_on_to_the_bit(stop_after: int) -> None:
    rule = Rule(0.6, 1, 2, 0.5, 1)  # labels of epoch 1 serve in epoch 2 as well: they cannot be made again there
    whole, rows = made(rule, augmentation=WholeBatch(mixup=0.4), ema=0.9)
    whole.run()
    first, before = made(rule, augmentation=WholeBatch(mixup=0.4), ema=0.9, stop_after=stop_after)
    first.run()
    second, after = made(rule, augmentation=WholeBatch(mixup=0.4), ema=0.9)
    second.restore(before.state("last"))
    second.run()
    ahead = [row for row in numbers(before) if row["step"] < stop_after]
    assert ahead + numbers(after) == numbers(rows)
    for name, tensor in whole.weights()["model"].items():
        assert torch.equal(tensor, second.weights()["model"][name])
    accounts = [loop.problem.pseudo.account() for loop in (whole, second)]  # type: ignore[attr-defined]
    assert accounts[0] == accounts[1]
    assert any(accounts[0]["taken"])


def test_the_average_gives_the_labels() -> None:
    loop, _ = made(Rule(0.6, 3, 9, 1.0, 0), ema=0.9, stop_after=3 * STEPS + 1)
    loop.run()
    plain, watcher = made(None, ema=0.9, stop_after=3 * STEPS)
    plain.run()
    judge = linear()
    judge.load_state_dict(watcher.state("last")["model"])
    sure = (torch.softmax(judge(unlabelled().images / 255.0).double(), 1).amax(1) >= 0.6).sum()
    assert loop.problem.pseudo.account()["taken"] == [int(sure)]  # type: ignore[attr-defined]


def test_mixed_pictures_are_soft_labels_of_both_kinds() -> None:
    loop, _ = made(Rule(0.5, 0, 1, 0.25, 0), augmentation=WholeBatch(mixup=1.0))
    problem = loop.problem
    problem.begin_epoch(0)
    batch = problem.batch(1)
    assert batch.others is not None
    log = torch.log_softmax(problem.module(batch.inputs), dim=1)
    weights = torch.cat([torch.ones(BATCH), torch.full((len(batch) - BATCH,), 0.25)])
    expected, mass = torch.zeros(()), 0.0
    for i in range(len(batch)):
        for row, label, share in ((i, batch.targets, batch.share), (i - 1, batch.others, 1 - batch.share)):
            weight = share * float(weights[row])
            expected, mass = expected - weight * log[i, label[i]], mass + weight
    assert batch.mass == pytest.approx(mass, rel=1e-6)
    assert problem.objective(batch).item() == pytest.approx(expected.item() / mass, rel=1e-5)


def test_pieces_of_an_update_make_its_gradient() -> None:
    def gradient(accumulate: int) -> list[Tensor]:
        loop, _ = made(Rule(0.5, 0, 1, 0.25, 0), accumulate=accumulate)
        loop.problem.begin_epoch(0)
        loop.problem.differentiate(loop.problem.batch(0))
        return [p.grad for p in loop.problem.module.parameters() if p.grad is not None]

    for whole, pieces in zip(gradient(1), gradient(3), strict=True):
        torch.testing.assert_close(whole, pieces)


def test_the_weight_rises_in_equal_steps() -> None:
    rule = Rule(0.7, 2, 3, 0.8, 3)
    assert [rule.weight_at(epoch) for epoch in range(2, 8)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    assert [epoch for epoch in range(10) if rule.is_due(epoch)] == [2, 5, 8]
    assert Rule(0.7, 2, 3, 0.8, 0).weight_at(2) == 0.8


# a whole run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other dishes of the same kind, whose names say what they are."""
    root = tmp_path_factory.mktemp("more")
    words = ("data.picture_seed=7", f"data.root={root / 'food'}")
    optbench.run(*FOOD, *words, "trainer.epochs=1", out=root / "runs")
    return root / "food" / "training"


def test_a_record_says_how_many_were_taken_and_right(pictures: Path, tmp_path: Path) -> None:
    words = (*FOOD, f"trainer.unlabelled={pictures}", "trainer.pseudo_threshold=0.09", "trainer.keep_every=1")
    run = optbench.run(*words, out=tmp_path)
    told = run.summary["provenance"]["pseudo_labels"]
    assert (told["pictures"], told["epochs"]) == (22, [1, 2])
    assert run.path is not None
    network = optbench.rebuild(run.path, "2")
    from optbench.images import read_folder

    images, names = read_folder(pictures, 16)
    shares = network.probabilities(images)
    sure = shares.amax(1) >= 0.09
    right = shares.argmax(1) == torch.tensor([int(name.partition("_")[0]) for name in names])
    assert (told["taken"][-1], told["right"][-1]) == (int(sure.sum()), int((sure & right).sum()))
    lines = report.run_lines(run)
    assert any(line.startswith(f"pseudo-labels: {told['taken'][0]} after epoch 1 ({told['right'][0]} right), ")
               and line.endswith("of 22 unlabelled pictures, from 0.09 on") for line in lines)  # fmt: skip
    again = json.loads((run.path / "run.json").read_text())
    assert again["provenance"]["pseudo_labels"] == told


def test_the_pictures_are_identity_wherever_they_lie(pictures: Path, tmp_path: Path) -> None:
    def planned(*words: str) -> str:
        return plan_run([*FOOD, *words]).run_id

    without, there = planned(), planned(f"trainer.unlabelled={pictures}")
    moved = shutil.copytree(pictures, tmp_path / "我的 图, [1]")
    assert planned(f"trainer.unlabelled={moved}") == there
    assert planned(f"trainer.unlabelled={shutil.make_archive(str(tmp_path / 'all'), 'zip', moved)}") == there
    assert planned(f"trainer.unlabelled={moved}", "trainer.pseudo_every=2") != there
    (moved / "0_0.jpg").write_bytes((moved / "1_0.jpg").read_bytes())
    assert len({without, there, planned("trainer.unlabelled=test"), planned(f"trainer.unlabelled={moved}")}) == 4
    config = plan_run([*FOOD]).config
    old = {key: value for key, value in config["trainer"].items() if not key.startswith(("pseudo", "unlabelled"))}
    assert run_id({**config, "trainer": old}) == without  # runs of before have the identity that they had


def test_a_sweep_is_with_and_without(pictures: Path, tmp_path: Path) -> None:
    asked = [*FOOD, "trainer.pseudo_threshold=0.6,0.8", f"trainer.unlabelled=null,{pictures}"]
    planned = plan_sweep(asked, out=tmp_path)
    assert len(planned) == 3  # without pictures the threshold does nothing
    assert plan_run(FOOD).run_id in [one.run_id for one in planned]
    with pytest.raises(ConfigError, match=r"trainer\.pseudo_threshold=0\.6: of which pictures"):
        plan_sweep([*FOOD, "trainer.pseudo_threshold=0.6,0.8"], out=tmp_path)
    assert {f"trainer.{name}" for name in PSEUDO} == set(_PSEUDO)


def test_test_pictures_are_the_word_test(tmp_path: Path) -> None:
    run = optbench.run(*FOOD, "trainer.unlabelled=test", "trainer.epochs=2", "trainer.pseudo_threshold=0.01",
                       out=tmp_path)  # fmt: skip
    told = run.summary["provenance"]["pseudo_labels"]
    assert (told["pictures"], told["taken"]) == (12, [12])
    assert "right" not in told  # the names say nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*FOOD, "trainer.unlabelled=nowhere"), "nowhere: no such folder"),
        ((*FOOD, "trainer.unlabelled=."), "no images in this folder"),
        ((*FOOD, "trainer.pseudo_weight=2"), "trainer.pseudo_weight=2.0: of which pictures?"),
        (("model=mlp", "data=diabetes", "loss=squared_error", "trainer.unlabelled=test"), "pseudo-labels are classes"),
        (("model=rosenbrock", "trainer.unlabelled=test"), "no key 'unlabelled'"),
        ((*FOOD, "loss=class_number", "trainer.unlabelled=test"), "ClassNumber has none"),
        ((*FOOD, "trainer.compile=true", "trainer.unlabelled=test"), "is for one size of batch"),
    ],
)
def test_what_cannot_be_is_refused_before_it_begins(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, err = invoke(capsys, "run", *words, "--quiet")
    assert (code, message in err) == (2, True), err
    assert len(err.strip().splitlines()) <= 3
    assert not list(tmp_path.iterdir())


def test_problems_say_what_they_cannot_learn_from() -> None:
    class Hard(nn.CrossEntropyLoss):
        def predict(self, outputs: Tensor) -> Tensor:
            return outputs.argmax(-1)

    pseudo = PseudoLabels(unlabelled(labels=False), RULE, 0)
    with pytest.raises(IncompatibleError, match="by the probabilities of classes"):
        NetworkProblem(linear(), Dots(), Hard(reduction="none"), 6, 0, CPU, pseudo=pseudo)
    with pytest.raises(ConfigError, match=r"pseudo_threshold=1\.5: expected a number above 0 and at most 1"):
        plan_run([*FOOD, "trainer.unlabelled=test", "trainer.pseudo_threshold=1.5"])


def test_a_broken_picture_is_named_or_left_out(pictures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pictures, tmp_path / "more")
    (folder / "9_9.jpg").write_bytes(b"no picture")
    words = (*FOOD[:2], "data=food11", f"data.root={pictures.parent}", "data.image_size=16", "trainer.epochs=2",
             "trainer.batch_size=8", f"trainer.unlabelled={folder}", "trainer.threads=1")  # fmt: skip
    with pytest.raises(DataError, match=r"9_9\.jpg"):
        optbench.run(*words, out=tmp_path / "runs")
    run = optbench.run(*words, "data.on_bad=skip", out=tmp_path / "runs")
    assert run.summary["provenance"]["pseudo_labels"]["pictures"] == 22
