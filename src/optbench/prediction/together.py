"""One trained network or several, asked about the same images: mean of probabilities, or votes.

Each network answers with probabilities: the softmax of its outputs, or all on one class where its loss reads classes
from outputs in its own way. With test-time augmentation an answer is that on the image as it is and, for the other part
of the weight, the mean of those on views of it, made by the augmentation that the network was trained with. The
homework's notebook proposes half and half.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from optbench.errors import UserError
from optbench.experiment.rebuild import Rebuilt, check_classes, rebuild
from optbench.prediction.pictures import Pictures, Progress, pictures
from optbench.prediction.runs import Asked, asked_of
from optbench.problem import stream

_TOGETHER = 256


@dataclass(frozen=True)
class Views:
    """Test-time augmentation.

    Attributes:
        count: augmented views of each image.
        weight: of the image as it is; the rest is shared by the views.
    """

    count: int = 5
    weight: float = 0.5


@dataclass(frozen=True)
class Ensemble:
    """Networks with the same classes.

    Attributes:
        members: at least one.
        vote: whether the class with most votes counts, a tie going to the larger mean probability; else that with the
            largest mean probability.
        views: test-time augmentation; None: none.
        weights: of the members, which sum to 1; None: all alike.
    """

    members: tuple[Rebuilt, ...]
    vote: bool = False
    views: Views | None = None
    weights: tuple[float, ...] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return self.members[0].class_names

    def pictures(
        self,
        place: Path | None = None,
        split: str | None = None,
        progress: Progress | None = None,
        usual: str = "test",
    ) -> list[Pictures]:
        """The images as each member takes them; arguments as in `pictures`. Read once for all members of one size."""
        read: dict[str, Pictures] = {}
        found = []
        for member in self.members:
            data = dict(member.config["data"])
            keys = ("image_size", "channels") if place is not None and not member.has_root else data
            key = repr([(name, data.get(name)) for name in keys])
            if key not in read:
                read[key] = pictures(member, place, split, progress, usual)
            found.append(read[key])
        if any(one.names != found[0].names for one in found):
            raise UserError("the runs do not have the same images to classify", "give a folder with --data")
        return found

    def each(self, images: Sequence[Pictures]) -> Tensor:
        """Probabilities (members, n, classes) float64, of each member by itself."""
        return torch.stack([_answers(m, p.images, self.views) for m, p in zip(self.members, images, strict=True)])

    def combined(self, each: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (n, classes), shares of votes where they vote, and classes (n,), from (members, n, classes)."""
        weights = torch.tensor(self.weights or [1.0 / len(each)] * len(each), dtype=torch.float64)
        mean = (weights[:, None, None] * each).sum(dim=0)
        if not self.vote:
            return mean, mean.argmax(dim=-1)
        votes = (weights[:, None, None] * one_hot(each.argmax(dim=-1), each.shape[-1])).sum(dim=0)
        tied = votes > votes.amax(dim=-1, keepdim=True) - 1e-9
        return votes, torch.where(tied, mean, -1.0).argmax(dim=-1)


def ensemble(
    folders: Sequence[Path],
    checkpoint: str | None = None,
    config_dirs: Sequence[Path] = (),
    vote: bool = False,
    views: Views | None = None,
) -> Ensemble:
    """The networks of run folders, to be asked together.

    Args:
        folders: of runs.
        checkpoint: as `rebuild` has it; several, separated by commas, are members of their own.
        config_dirs: as `rebuild` has them.
        vote, views: see Ensemble.

    Raises:
        RecordError, UserError: as `rebuild`; a regression; other classes; views without an augmentation.
    """
    return ensemble_of(asked_of(folders, checkpoint), config_dirs, vote, views)


def ensemble_of(
    asked: Sequence[Asked],
    config_dirs: Sequence[Path] = (),
    vote: bool = False,
    views: Views | None = None,
    weights: Sequence[float] | None = None,
) -> Ensemble:
    """The networks of these checkpoints, to be asked together; arguments and errors as of `ensemble`."""
    members = tuple(rebuild(folder, one, config_dirs) for folder, one in asked)
    for member in members:
        check_classes(member)
        if member.class_names != members[0].class_names:
            raise UserError(f"{member.run.path} and {members[0].run.path} tell other classes apart",
                            "an ensemble has the same classes in the same order")  # fmt: skip
        if views is not None and member.augmentation is None:
            raise UserError(f"--tta: {member.run.path} was trained without augmentation, so there are no views to make",
                            "train with one, such as augment=flip_crop")  # fmt: skip
    return Ensemble(members, vote, views, None if weights is None else tuple(weights))


def _answers(member: Rebuilt, images: Tensor, views: Views | None) -> Tensor:
    plain: Tensor = member.probabilities(images)
    if views is None or not views.count:
        return plain
    augmentation = member.augmentation
    assert augmentation is not None
    total = torch.zeros_like(plain)
    seed = int(member.config["seed"])
    for view in range(views.count):
        parts = []
        for i, part in enumerate(images.split(_TOGETHER)):
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                here = part.to(member.device) if augmentation.on_device else part.clone()
                made = augmentation(here, stream(seed, "test-time augmentation", view, i))
            parts.append(member.probabilities(made))
        total += torch.cat(parts)
    mean: Tensor = views.weight * plain + (1.0 - views.weight) * total / views.count
    return mean
