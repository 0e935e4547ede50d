"""Rows that differ in length: packed, padded, trained on and judged; each held to loops over the rows by themselves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import hf_files
import numpy as np
import pytest
import torch
from given_data import Given
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_tools import CPU, StopsAfter
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

import optbench
from optbench.augment.jitter import Jitter
from optbench.collate.pad import Pad
from optbench.curvature.objective import network_objective
from optbench.data.made_sentences import MadeSentences
from optbench.data.made_text import ALPHABET
from optbench.data.table_npz import Arrays
from optbench.errors import ConfigError, DataError, IncompatibleError, OptbenchError
from optbench.experiment.assemble import build_problem
from optbench.experiment.execute import execute
from optbench.experiment.plan import plan_run
from optbench.experiment.recorder import Stop
from optbench.launch.stacks import apart_from_stacks
from optbench.losses.squared_error import SquaredError
from optbench.models.deep_sets import DeepSets
from optbench.models.gpt import GPT
from optbench.models.lstm import LSTM
from optbench.problem import AbstractData, NetworkProblem, Ragged, network_outputs, read_split, stream, trees
from optbench.problem.collating import IGNORED, stand_ins
from optbench.problem.folds import Folds
from optbench.problem.measures import Metric, accuracy, macro_f1, perplexity
from optbench.slices.objective import NetworkLoss

ENTROPY = nn.CrossEntropyLoss(reduction="none")
BARE = Pad(beside="nothing")
CLASSES = 5


def texts(n: int, most: int = 9, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Tokens and a token to learn at each, of n rows."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, most + 1, (n,), generator=generator).tolist()
    return [tuple(torch.randint(CLASSES, (2, k), generator=generator)) for k in lengths]  # type: ignore[misc]


def packed(rows: list[tuple[Tensor, Tensor]]) -> Given:
    return Given(*(Ragged.of(column) for column in zip(*rows, strict=True)), n_classes=CLASSES)


def reader(seed: int = 0, n_outputs: int = CLASSES) -> LSTM:
    torch.manual_seed(seed)
    return LSTM(n_outputs, width=6).double()


# rows ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.data())
def test_ragged_is_a_list_of_rows(lengths: list[int], data: st.DataObject) -> None:
    rows = [torch.arange(10 * i, 10 * i + k) for i, k in enumerate(lengths)]
    ragged = Ragged.of(rows)

    def same(found: Any, wanted: list[Tensor]) -> bool:
        return len(found) == len(wanted) and all(map(torch.equal, found, wanted))

    index = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    start, stop, step = (data.draw(st.none() | st.integers(-9, 9)) for _ in range(3))
    cut = slice(start, stop, abs(step) if step else None)
    assert same(ragged, rows)
    assert same(ragged[torch.tensor(index, dtype=torch.long)], [rows[i] for i in index])
    assert same(ragged[cut], rows[cut])
    assert torch.equal(ragged[-1], rows[-1])
    assert same(trees.joined([ragged, ragged[cut]]), rows + rows[cut])
    longest = max(lengths)
    assert torch.equal(ragged.padded(longest, -7), pad_sequence(rows, batch_first=True, padding_value=-7))
    assert ragged.real(longest).sum() == sum(lengths)
    assert ragged.row_of.tolist() == [i for i, k in enumerate(lengths) for _ in range(k)]


@pytest.mark.slow  # torch takes seconds for its first nested tensor
def test_rows_of_a_nested_tensor() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.zeros(4, 3)], layout=torch.jagged)
    assert [tuple(row.shape) for row in Ragged.of(nested)] == [(2, 3), (4, 3)]


def test_rows_of_lists_and_what_is_refused() -> None:
    assert Ragged.of([[1, 2], [], [3]]).lengths.tolist() == [2, 0, 1]
    for rows, named in (
        ([], "no rows"), ([torch.tensor(1.0)], "row 0 is a single number"),
        ([torch.ones(2), torch.ones(3).double()], "row 1 is torch.float64"),
        ([torch.ones(2, 3), torch.ones(2, 4)], r"row 1 is torch.float32 \(2, 4\)"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=named):
            Ragged.of(rows)
    for offsets in ([0, 2], [1, 3], [0, 2, 1, 3], [-1, 3]):
        with pytest.raises(DataError, match="rise from 0 to 3"):
            Ragged(torch.ones(3), torch.tensor(offsets))


# padding -------------------------------------------------------------------------------------------------------------


def test_a_batch_is_pad_sequences() -> None:
    rows = texts(7)
    data = packed(rows)
    (padded, mask), targets = Pad(value=3)(data.inputs, data.targets)
    tokens, wanted = (list(column) for column in zip(*rows, strict=True))
    assert torch.equal(padded, pad_sequence(tokens, batch_first=True, padding_value=3))
    assert torch.equal(targets, pad_sequence(wanted, batch_first=True, padding_value=IGNORED))
    assert torch.equal(mask, pad_sequence([torch.ones(len(t), dtype=torch.bool) for t in tokens], batch_first=True))
    points = Ragged.of([torch.rand(k, 2, 3) for k in (4, 1)])
    assert torch.equal(BARE(points, None)[0], pad_sequence(list(points), batch_first=True))
    _, numbers = BARE(points, points.with_values(points.values[:, 0, 0]))
    assert numbers.isnan().tolist() == [[False] * 4, [False, True, True, True]]
    assert Pad(length=12)(data.inputs, None)[0][0].shape == (7, 12)
    assert Pad(multiple=4)(points, None)[0][0].shape[1] == 4
    assert Pad(multiple=3)(points, None)[0][0].shape[1] == 6
    assert Pad(beside="lengths")(data.inputs, None)[0][1].tolist() == [len(t) for t in tokens]


def test_inputs_of_any_form_keep_it_and_have_masks_beside() -> None:
    """A graph: points, and edges, of which a row may have none."""
    points, edges = Ragged.of([torch.ones(2, 3), torch.ones(1, 3)]), Ragged.of([torch.ones(2, 2).long(), []])
    size = torch.tensor([2.0, 1.0])
    named, _ = Pad()({"points": points, "edges": edges, "size": size}, None)
    assert list(named) == ["points", "points_mask", "edges", "edges_mask", "size"]
    assert named["edges_mask"].tolist() == [[True, True], [False, False]]
    placed, _ = Pad()((points, size, edges), None)
    assert [tuple(part.shape) for part in placed] == [(2, 2, 3), (2,), (2, 2, 2), (2, 2), (2, 2)]
    assert Pad()([points], None)[0][1].dtype == torch.bool
    nothing, _ = BARE(edges[1:], None)
    assert nothing.shape == (1, 1, 2), "a batch in which no row has one has a place all the same"
    with pytest.raises(DataError, match="have x_mask already"):
        Pad()({"x": points, "x_mask": size}, None)


# training ------------------------------------------------------------------------------------------------------------


def by_rows(model: nn.Module, rows: list[tuple[Tensor, Tensor]], weights: Tensor | None = None) -> float:
    """The mean loss a token, its gradients added up row by row; written without optbench."""
    total = sum(len(wanted) for _, wanted in rows)
    if weights is not None:
        weights = weights.double()
    loss = 0.0
    for k, (tokens, wanted) in enumerate(rows):
        own = cross_entropy(model(tokens[None])[0], wanted, reduction="sum") / total
        own = own if weights is None else own * weights[k]
        own.backward()
        loss += own.item()
    return loss


@pytest.mark.parametrize("more", [{}, {"accumulate": 3}, {"weights": torch.linspace(0, 2, 14)}])
@pytest.mark.parametrize("collate", [BARE, Pad(beside="nothing", length=20), Pad(beside="nothing", multiple=4)])
def test_padded_batches_train_as_the_rows_by_themselves(collate: Pad, more: dict[str, Any]) -> None:
    rows = texts(14)
    data, weights = packed(rows), more.pop("weights", None)
    data.weights = weights
    if weights is not None:  # of mean 1 over tokens
        lengths = torch.tensor([len(wanted) for _, wanted in rows])
        weights = weights / ((weights * lengths).sum() / lengths.sum())
    model, plain = reader(), reader()
    parts = more.get("accumulate", 1)
    problem = NetworkProblem(model, data, ENTROPY, 6 // parts, 3, CPU, collate=collate, **more)
    order = torch.randperm(14, generator=stream(3, "order", 0))
    for step, index in enumerate((order[:6], order[6:12], order[12:])):
        for module in (model, plain):
            module.zero_grad()
        expected = by_rows(plain, [rows[i] for i in index], None if weights is None else weights[index])
        assert problem.differentiate(problem.batch(step)).item() == pytest.approx(expected, rel=1e-6)
        for a, b in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12 if weights is None else 1e-6, atol=1e-12)
            with torch.no_grad():
                a -= 0.5 * a.grad
                b -= 0.5 * a.grad


def test_sets_and_texts_do_not_see_their_padding() -> None:
    torch.manual_seed(0)
    points = torch.rand(3, 5, 2)
    mask = Ragged.of([torch.ones(k) for k in (5, 3, 1)]).real(5)
    for pool in ("max", "mean"):
        model = DeepSets(4, 2, 8, pool)
        expected = [model(points[i : i + 1, : int(mask[i].sum())]) for i in range(3)]
        torch.testing.assert_close(model(points.masked_fill(~mask[:, :, None], 99.0), mask), torch.cat(expected))
        torch.testing.assert_close(model(points[:, torch.randperm(5)]), model(points))
        assert not torch.allclose(model(points), model(points, mask))
    text = GPT(CLASSES, 9, 8)
    tokens = torch.randint(CLASSES, (1, 5))
    torch.testing.assert_close(text(torch.cat([tokens, tokens], 1)[:, :9])[:, :5], text(tokens))


# evaluation ----------------------------------------------------------------------------------------------------------


def test_figures_are_of_real_tokens_by_a_plain_loop() -> None:
    rows = texts(300, seed=4)  # more than a batch of an evaluation
    data, model = packed(rows), reader()
    weights = torch.arange(300.0) % 4
    data.weights = weights
    metrics = [Metric(of.__name__, of, 1) for of in (perplexity, accuracy, macro_f1)]
    problem = NetworkProblem(model, data, ENTROPY, 50, 0, CPU, collate=Pad(3, beside="nothing"), metrics=metrics)
    loss, mass, right = 0.0, 0.0, 0.0
    counts = np.zeros((CLASSES, CLASSES))
    for (tokens, wanted), weight in zip(rows, weights.tolist(), strict=True):
        logits = model(tokens[None])[0].detach().numpy()
        for scores, k in zip(logits, wanted.tolist(), strict=True):
            p = np.exp(scores - scores.max())
            loss -= weight * math.log(p[k] / p.sum())
            right += weight * (scores.argmax() == k)
            counts[k, scores.argmax()] += weight
            mass += weight
    f1 = [2 * counts[k, k] / (counts[k].sum() + counts[:, k].sum()) for k in range(CLASSES) if counts[k].sum()]
    expected = {"val_loss": loss / mass, "val_accuracy": right / mass, "val_perplexity": math.exp(loss / mass),
                "val_macro_f1": sum(f1) / len(f1)}  # fmt: skip
    assert problem.evaluate() == pytest.approx(expected, rel=1e-6)
    problem.objective(problem.batch(0))
    batch = problem.batch(0)
    said = [model(tokens[None])[0].argmax(-1) == wanted for tokens, wanted in
            (rows[i] for i in torch.randperm(300, generator=stream(0, "order", 0))[:50])]  # fmt: skip
    assert problem.epoch_figures()["train_accuracy"] == pytest.approx(torch.cat(said).double().mean().item())
    assert batch.mass == len(torch.cat(said))


def in_front(inputs: Any, targets: Any) -> Any:
    """Rows padded before they begin."""

    def turned(rows: Any, value: int) -> Tensor:
        flipped = [row.flip(0) for row in rows]
        return pad_sequence(flipped, batch_first=True, padding_value=value).flip(1)

    return turned(inputs, 0), None if targets is None else turned(targets, IGNORED)


def test_padding_may_stand_anywhere() -> None:
    data, model = packed(texts(300)), nn.Sequential(nn.Embedding(CLASSES, 4), nn.Linear(4, CLASSES))
    problems = [NetworkProblem(model, data, ENTROPY, 300, 0, CPU, collate=one) for one in (BARE, in_front)]
    losses = [problem.objective(problem.batch(0)).item() for problem in problems]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert problems[0].evaluate() == pytest.approx(problems[1].evaluate(), rel=1e-6)
    unlabelled = network_outputs(model, data.inputs, CPU, problems[1].collator, stand_ins(data.inputs))
    torch.testing.assert_close(unlabelled.values, model(data.inputs.values).detach())
    assert unlabelled.offsets.equal(data.inputs.offsets)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_curvature_and_slices_are_of_real_tokens(share: float) -> None:
    rows = texts(14)
    data, model = packed(rows), reader()
    problem = NetworkProblem(model, data, ENTROPY, "full", 0, CPU, collate=BARE)
    whole = by_rows(model, rows)
    objective = network_objective(model, ENTROPY, problem.train, share=share, chunk=4, collator=problem.collator)
    looked = NetworkLoss(model, ENTROPY, {"train": problem.train}, batch=4, collator=problem.collator)
    seen = looked(looked.weights)["train"]
    if share == 1.0:
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        value, found = objective.gradient()
        assert value == pytest.approx(whole, rel=1e-12)
        torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-12)
        assert seen == pytest.approx((whole, problem.evaluate()["val_accuracy"]), rel=1e-6)
    assert objective.examples == round(14 * share)


def test_labels_are_drawn_at_real_tokens_alone() -> None:
    rows = texts(6)
    problem = NetworkProblem(reader(), packed(rows), ENTROPY, "full", 0, CPU, collate=BARE)
    drawn: list[Any] = []
    problem.loss.register_forward_hook(lambda _, given, __: drawn.append(given[1]))
    problem.differentiate_sampled(problem.batch(0), 0)
    assert drawn[-1].shape == (sum(len(wanted) for _, wanted in rows),)
    assert all(p.grad is not None for p in problem.module.parameters())


# what is around ------------------------------------------------------------------------------------------------------


class Mean(nn.Module):
    """The mean of the real values of rows of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        there = mask[:, :, None].to(x)
        found: Tensor = self.last((x * there).sum(1) / there.sum(1))
        return found


NUMBERS = Ragged.of([torch.randn(k, 2, generator=torch.Generator().manual_seed(k)) + 3.0 for k in range(1, 15)])
WANTED = torch.linspace(-1, 1, 14)


def test_inputs_are_measured_over_all_positions() -> None:
    problem = NetworkProblem(Mean(), Given(NUMBERS, WANTED), SquaredError(), 7, 0, CPU, normal=True, collate=Pad())
    mean, deviation = NUMBERS.values.mean(0), NUMBERS.values.std(0, correction=0)
    torch.testing.assert_close(problem.module.input_mean, mean)
    means = torch.stack([((row - mean) / deviation).mean(0) for row in NUMBERS])
    expected = (problem.module.last(means)[:, 0] - WANTED).square().mean().item()
    assert problem.evaluate()["val_loss"] == pytest.approx(expected, rel=1e-5)


def test_noise_is_drawn_for_what_is_there_however_it_is_padded() -> None:
    batches = [
        NetworkProblem(Mean(), Given(NUMBERS, WANTED), SquaredError(), 7, 0, CPU, Jitter(1.0), collate=one).batch(1)
        for one in (Pad(), Pad(), Pad(length=30))
    ]
    (x, mask), (again, _), (longer, _) = (batch.inputs for batch in batches)
    assert torch.equal(x, again)
    assert torch.equal(longer[:, : x.shape[1]], x)
    assert not x[~mask].any()
    assert not torch.isin(x[mask], NUMBERS.values).any()


def test_numbers_at_each_position_and_a_fold_of_them() -> None:
    wanted = NUMBERS.with_values(NUMBERS.values.sum(dim=1))
    model = nn.Linear(2, 1)
    data = Given(NUMBERS, wanted)
    problem = NetworkProblem(model, data, SquaredError(), 7, 0, CPU, collate=BARE)
    expected = (model(NUMBERS.values)[:, 0] - wanted.values).square().mean().item()
    assert problem.evaluate()["val_loss"] == pytest.approx(expected, rel=1e-5)
    parts = [Folds(data, 4, k).load("validation") for k in range(4)]
    assert sorted(len(row) for part in parts for row in part.targets) == sorted([*range(1, 15)] * 2)


def test_a_batch_does_not_hang_on_what_came_before() -> None:
    config = plan_run(["model=gpt", "data=made_sentences", "data.train_sentences=50", "trainer.batch_size=16"]).config
    problem, fresh = (build_problem(config, CPU) for _ in range(2))
    assert isinstance(problem, NetworkProblem)
    before = [problem.batch(k) for k in range(6)][5]
    again = fresh.batch(5)
    assert torch.equal(before.inputs, again.inputs)
    assert torch.equal(before.targets.values, again.targets.values)
    assert len({problem.batch(k).inputs.shape[1] for k in range(3)}) > 1, "of several lengths"
    assert "collate" in str(apart_from_stacks(config))


def test_entropy_of_a_sentence_is_that_of_its_letters() -> None:
    data = MadeSentences(train_sentences=1500)
    split = read_split(data, "train")
    texts = ["".join(ALPHABET[k] for k in row) for row in split.targets]
    nats = 0.0
    for text in texts:
        words = text[:-1].split(" ")
        nats += math.log(2)  # whether there is a verb with an object
        nats += sum(map(_nats, words))
    assert nats / sum(map(len, texts)) == pytest.approx(data.entropy, rel=0.01)
    assert max(map(len, texts)) <= 40
    assert all(
        "." + text[:-1] == "".join(ALPHABET[k] for k in row) for text, row in zip(texts, split.inputs, strict=True)
    )


def _nats(word: str) -> float:
    from optbench.data import made_text

    if word == "sleeps":
        return 0.0
    if word in ("the", "a"):  # and whether an adjective follows
        return 2 * math.log(2)
    sizes = {"_ADJECTIVES": 8, "_NOUNS": 12, "_VERBS": 8}
    return next(math.log(n) for name, n in sizes.items() if word in getattr(made_text, name))


# what is refused -----------------------------------------------------------------------------------------------------

LINES = packed(texts(6))


def fewer(inputs: Any, targets: Any) -> Any:
    made = BARE(inputs, targets)
    return made[0][:-1], made[1]


def restless(inputs: Any, targets: Any) -> Any:
    made = BARE(inputs, targets)
    return made[0] + torch.randint(0, 2**40, (1,)), made[1]


@pytest.mark.parametrize(("data", "collate", "named"), [
    (LINES, None, "inputs of the train split of Given have rows of .* values; a batch wants one length"),
    (Given(torch.ones(6, 2), LINES.targets, CLASSES), None, "targets of the train split of Given have rows"),
    (Given(torch.zeros(6, 2).long(), torch.zeros(6).long(), 2), Pad(), "one length: there is nothing to pad"),
    (LINES, Pad(length=2), "row . has . values, more than collate.length=2"),
    (LINES, Pad(value=0.5), "collate.value=0.5 is no int64"),
    (Given(Ragged.of([[True], [False, True]]), torch.tensor([0, 1]), 2), Pad(value=2), "collate.value=2 is no bool"),
    (Given(Ragged.of([torch.ones(k).byte() for k in (1, 2)]), torch.tensor([0, 1]), 2), Pad(value=-1), "no uint8"),
    (LINES, fewer, r"the collate fewer gives inputs \(1, .*\) of 2 examples"),
    (LINES, restless, "the collate restless makes another batch of the same rows each time"),
    (LINES, lambda x, y: BARE(x, y)[0], "gives a Tensor"),
    (LINES, lambda x, y: (x, y), "leaves a Ragged in the inputs"),
    (LINES, lambda x, y: (BARE(x, y)[0], y), "leaves a Ragged in the targets"),
    (LINES, lambda x, y: ((), BARE(x, y)[1]), "gives no inputs"),
    (LINES, lambda x, y: (BARE(x, y)[0], y.padded(9, 0)), "gives 18 targets of"),
    (LINES, lambda x, y: BARE(x, y.with_values(y.values + 4)), "gives targets . to 8; expected 0 to 4"),
    (LINES, lambda x, y: (BARE(x, y)[0], y.padded(9, -100) * 0 - 100), "gives a batch without targets"),
    (LINES, lambda x, y: (BARE(x, y)[0], torch.zeros(len(y)).long()), r"expected \(b, t\)"),
    (LINES, lambda x, y: (BARE(x, y)[0], y.padded(11, -100)), r"outputs are .* and the targets \(2, 11\)"),
    (LINES, lambda x, y: 1 / 0, "ZeroDivisionError: division by zero"),
    (LINES, Pad(), "LSTM.forward.. takes 2 positional arguments but 3 were given"),
    (Given(LINES.inputs, LINES.targets[:3], CLASSES), BARE, "have 3 rows and the inputs 6"),
    (Given(LINES.inputs, Ragged.of([[1]] * 6), CLASSES), BARE, "inputs and 1 targets in row"),
    (Given({"a": LINES.inputs, "b": torch.ones(3)}, LINES.targets, CLASSES), BARE, "have 6 and 3 rows"),
    (Given(list(LINES.inputs), LINES.targets, CLASSES), BARE, "rows"),
    (Given(Ragged.of([[1], [], [2]]), torch.tensor([0, 1, 0]), 2), BARE, "no value in row 1"),
    (Given(LINES.inputs, LINES.targets.with_values(LINES.targets.values + 1), CLASSES), BARE, "hold 5; expected 0"),
    (Given(LINES.inputs, LINES.targets.with_values(LINES.targets.values / 2), CLASSES), BARE, "whole numbers, 0 to 4"),
    (Given(NUMBERS.with_values(NUMBERS.values / 0), WANTED), Pad(), "not finite"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(data: AbstractData, collate: Any, named: str) -> None:
    with pytest.raises((DataError, IncompatibleError), match=named):
        NetworkProblem(LSTM(CLASSES, 4), data, ENTROPY, 2, 0, CPU, collate=collate)


@pytest.mark.parametrize(("words", "named"), [
    (["model=rosenbrock", "collate=pad"], "is a surface and has no rows"),
    (["model=mlp", "collate=pad"], "Digits has pictures"),
    (["model=mlp", "data=wine", "collate=pad"], "nothing to pad"),
    (["model=deep_sets", "collate=stack"], "rows of 21 to 41 values"),
    (["model=deep_sets", "collate=pad_bare"], None),
    (["model=lstm", "data=digit_points"], "the model does not take"),
    (["model=deep_sets", "trainer.compile=graphs", "trainer.device=cpu"], "graphs repeats passes of one shape"),
    (["model=deep_sets", "augment=flip_crop"], "FlipCrop changes images"),
])  # fmt: skip
def test_parts_that_do_not_belong_together(words: list[str], named: str | None) -> None:
    config = plan_run(words).config
    if named is None:
        build_problem(config, CPU)
        return
    with pytest.raises(OptbenchError, match=named):
        build_problem(config, CPU)


@pytest.mark.parametrize(("words", "named"), [
    (["collate.beside=x"], "mask, lengths, nothing"), (["collate.length=0"], "at least 1"),
    (["collate.multiple=null"], "at least 1"), (["collate.value=word"], "number"),
])  # fmt: skip
def test_settings_of_pad_are_held_to_their_range(words: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        plan_run(["model=deep_sets", *words])


# files ---------------------------------------------------------------------------------------------------------------


def save(place: Path, **changes: Any) -> str:
    rows = [np.arange(k % 4 + 1) % 3 for k in range(40)]
    arrays = {
        "x": np.concatenate(rows),
        "x_offsets": np.cumsum([0, *map(len, rows)]),
        "y": np.arange(40) % 2,
        **changes,
    }
    np.savez(place / "rows.npz", **{name: value for name, value in arrays.items() if value is not None})
    return str(place / "rows.npz")


def test_rows_of_a_file_are_where_their_offsets_say(tmp_path: Path) -> None:
    train = Arrays(save(tmp_path)).load("train")
    for row, name in zip(train.inputs, train.names, strict=True):
        assert row.tolist() == [k % 3 for k in range((int(name) - 1) % 4 + 1)]
    tokens = np.tile([0, 2, 1, 4], 25)
    both = Arrays(save(tmp_path, y=tokens, y_offsets=np.cumsum([0, *(k % 4 + 1 for k in range(40))])))
    assert both.n_classes == 5
    held = read_split(both, "test")
    assert held.targets.offsets.equal(held.inputs.offsets)
    numbers = Arrays(save(tmp_path, x=np.arange(100.0)), standardize=True).load("train")
    assert numbers.inputs.values.mean().abs() < 1e-6
    with pytest.raises(DataError, match="'x' has nan in row 1"):
        Arrays(save(tmp_path, x=np.array([0.0, 1.0, np.nan, *range(97)])))
    for offsets in ([0, 1, 2], [0.0, 100.0], [1, 100], [0, 5, 4, 100]):
        with pytest.raises(DataError, match="rise from 0 to 100"):
            Arrays(save(tmp_path, x_offsets=np.array(offsets)))
    with pytest.raises(DataError, match="'x' has 40 rows and 'y' 39"):
        Arrays(save(tmp_path, y=np.arange(39) % 2))
    objects = np.empty(40, dtype=object)
    objects[:] = [np.arange(k + 1) for k in range(40)]
    with pytest.raises(DataError, match="Python objects are not read") as caught:
        Arrays(save(tmp_path, x=objects, x_offsets=None))
    assert "x_offsets=" in caught.value.hint


LINES_OF_TEXT = ("model=lstm", "data=made_sentences", "data.train_sentences=60", "data.validation_sentences=20",
                 "model.width=8", "trainer.batch_size=7", "trainer.epochs=2", "trainer.threads=1")  # fmt: skip


@pytest.mark.parametrize("updates", [5, pytest.param(9, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_to_the_bit(tmp_path: Path, updates: int) -> None:
    whole, part = (plan_run(LINES_OF_TEXT, out=tmp_path / name) for name in ("whole", "part"))
    assert execute(part, StopsAfter(updates)).status == "interrupted"
    found, wanted = (execute(one, Stop()) for one in (part, whole))
    assert found.losses() == wanted.losses()
    assert found.summary["val_accuracy"] == wanted.summary["val_accuracy"]


@pytest.mark.slow  # the compiler
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_compiled_passes_are_of_any_length(tmp_path: Path) -> None:
    words = ("model=deep_sets", "model.width=8", "trainer.epochs=1", "trainer.threads=1", "optimizer=sgd")
    plain, made = (optbench.run(*words, *more, out=tmp_path) for more in ((), ("trainer.compile=true",)))
    assert made.losses()[:-1] == pytest.approx(plain.losses()[:-1], rel=1e-4)
    assert made.summary["compile_seconds"] > 0


@pytest.mark.slow
def test_a_column_of_lists_is_rows_that_differ_in_length(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    from optbench.data.hf import HuggingFace

    rows = [[v % 3 for v in range(k % 4 + 1)] for k in range(60)]
    tags, points = [[(v + 1) % 3 for v in row] for row in rows], [[[float(v), 1.0] for v in row] for row in rows]
    place = hf_files.rows(tmp_path / "r.parquet", ids=rows, tags=tags, points=points, k=[k % 2 for k in range(60)])
    train = read_split(HuggingFace(str(place), "tags", "ids"), "train")
    for name, row, wanted in zip(train.names, train.inputs, train.targets, strict=True):
        k = int(name.partition("[")[2][:-1])
        assert (row.tolist(), wanted.tolist()) == (rows[k], tags[k])
    found = HuggingFace(str(place), "k", "points", standardize=False).load("test").inputs
    assert found.values.shape[1] == 2
    assert (found.values[:, 1] == 1.0).all()
    with pytest.raises(DataError, match="lists of 1 and of 4 values") as caught:
        HuggingFace(str(place), "k", ["points", "ids"])
    assert "collate=pad" in caught.value.hint
    rows[7][1] = None  # type: ignore[call-overload]
    with pytest.raises(DataError, match="no value in row 7"):
        HuggingFace(str(hf_files.rows(tmp_path / "s.parquet", ids=rows, k=[k % 2 for k in range(60)])), "k", "ids")


@pytest.mark.slow
def test_predictions_and_figures_of_a_run_are_of_its_own_rows(tmp_path: Path) -> None:
    """Through the commands' functions: evaluate and predict of a run on texts that differ in length."""
    from optbench.experiment.rebuild import rebuild
    from optbench.prediction.examples import answers, figures, probability_table, table
    from optbench.prediction.worst import looked_at

    run = optbench.run("model=lstm", "data=made_sentences", "data.train_sentences=64", "data.validation_sentences=300",
                       "model.width=8", "trainer.epochs=1", "trainer.threads=1", out=tmp_path)  # fmt: skip
    assert run.path is not None
    network = rebuild(run.path, "last")
    found = figures(network, "validation")
    assert found.loss == pytest.approx(run.curve()["val_loss"].dropna().iloc[-1], rel=1e-5)
    assert found.figures["accuracy"] == pytest.approx(run.summary["val_accuracy"], rel=1e-5)
    said = answers(network, "test")
    lines = table(said).splitlines()[1:]
    lengths = network.data.load("test").targets.lengths.tolist()
    assert len(probability_table(said).splitlines()) == sum(lengths) + 1
    assert [len(line.partition(",")[2]) for line in lines] == lengths
    worst = looked_at(run, "last", [], 3).worst
    assert len(worst) == 3
