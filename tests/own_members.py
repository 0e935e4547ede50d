"""One member of every kind, each a `.py` and a YAML in a folder of the user's own: what the tests of them add."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "tilted.py": '''
from torch import Tensor
from optbench import AbstractSurface

class Tilted(AbstractSurface):
    """f(x, y) = x^2 + (y - slope x)^2, minimum 0 at the origin."""

    def __init__(self, slope: float) -> None:
        super().__init__([(-2.0, 2.0)] * 2, (1.0, -1.0), [[0.0, 0.0]], 0.0)
        self.slope = slope

    def __call__(self, x: Tensor) -> Tensor:
        u, v = x.unbind(-1)
        return u * u + (v - self.slope * u) ** 2
''',
    "model/tilted.yaml": "# my surface\ndefaults: [_surface]\n_target_: tilted.Tilted\nslope: 0.5\n",
    "signed.py": '''
from optbench import AbstractPureOptimizer

class Signed(AbstractPureOptimizer):
    memories = ("m",)

    def __init__(self, params, lr=0.01, beta=0.5):
        super().__init__(params, {"lr": lr, "beta": beta})

    @staticmethod
    def pure(x, gradient, memory, hyper, t):
        m = hyper["beta"] * memory["m"] + gradient
        return x - hyper["lr"] * m, {"m": m}
''',
    "calm.py": '''
from optbench import AbstractWrapper

class Calm(AbstractWrapper):
    """A share of every gradient; counts its updates."""

    def __init__(self, inner, share):
        super().__init__(inner)
        self.share = share

    def update(self, closure):
        def calmed():
            loss = closure()
            for p in self.parameters:
                p.grad.mul_(self.share)
            return loss

        self.drive(calmed)
        self.memory["updates"] = self.memory.get("updates", 0) + 1
''',
    "wrap/calm.yaml": "# @package wrap.calm\n# my wrapper\n_target_: calm.Calm\n_partial_: true\nshare: 0.9\n",
    "optimizer/signed.yaml": "# my optimizer\n_target_: signed.Signed\n_partial_: true\nlr: 0.05\nbeta: 0.5\n",
    "fading.py": '''
from torch.optim.lr_scheduler import LambdaLR

def fading(optimizer, half):
    return LambdaLR(optimizer, lambda k: 0.5 ** (k / half))
''',
    "scheduler/fading.yaml": "# my schedule\n_target_: fading.fading\n_partial_: true\nhalf: 10\n",
    "margin.py": '''
import torch
from torch import nn

class Margin(nn.Module):
    """max(0, 1 + the largest other output - the right one)."""

    def forward(self, outputs, target):
        right = outputs.gather(1, target[:, None])[:, 0]
        others = outputs.scatter(1, target[:, None], -torch.inf)
        return (1.0 + others.amax(1) - right).relu()
''',
    "loss/margin.yaml": "# my loss\n_target_: margin.Margin\n",
    "slim.py": '''
from torch import nn

class Slim(nn.Sequential):
    def __init__(self, n_outputs, in_channels, image_size):
        super().__init__(nn.Flatten(), nn.Linear(in_channels * image_size**2, n_outputs))
''',
    "model/slim.yaml": "# my network\ndefaults: [_network]\n_target_: slim.Slim\nn_outputs: ${n_outputs}\n"
    "in_channels: ${data.channels}\nimage_size: ${data.image_size}\n",
    "bars.py": '''
import torch
from optbench import AbstractData, Split

class Bars(AbstractData):
    """A bright column on the left (0) or on the right (1)."""

    def __init__(self, n_classes, channels, image_size):
        self.n_classes, self.channels, self.image_size = n_classes, channels, image_size
        self.class_names = ("left", "right")

    def load(self, split):
        labels = torch.arange(24 if split == "train" else 8) % 2
        images = torch.full((len(labels), self.channels, self.image_size, self.image_size), 30, dtype=torch.uint8)
        for image, label in zip(images, labels):
            image[:, :, -2 if label else 1] = 220
        return Split(images, None if split == "test" else labels, tuple(f"{i}.png" for i in range(len(labels))))
''',
    "data/bars.yaml": "# my data\ndefaults: [_speckled]\n_target_: bars.Bars\n"
    "n_classes: 2\nchannels: 1\nimage_size: 6\n",
    "data/_speckled.yaml": "# @package _global_\n# base: speckled\ndefaults:\n  - override /augment: speckle\n",
    "speckle.py": '''
import torch
from optbench import AbstractAugmentation

class Speckle(AbstractAugmentation):
    """Adds up to `strength` to each pixel."""

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, images, generator):
        return images + torch.randint(0, self.strength + 1, images.shape, generator=generator, dtype=torch.uint8)
''',
    "augment/speckle.yaml": "# my augmentation\n_target_: speckle.Speckle\nstrength: 20\n",
    "lines.py": '''
import torch
from optbench import AbstractData, Ragged, Split

class Lines(AbstractData):
    """Rows of 1 to 5 tokens: class 1 where a 3 is among them."""

    def __init__(self, n_classes):
        self.n_classes, self.class_names = n_classes, ("without", "with")

    def load(self, split):
        rows = [[(i + k) % 4 for k in range(i % 5 + 1)] for i in range(40)]
        labels = torch.tensor([int(3 in row) for row in rows])
        return Split(Ragged.of(rows), None if split == "test" else labels, tuple(map(str, range(len(rows)))))
''',
    "data/lines.yaml": "# my lines\ndefaults: [_ends]\n_target_: lines.Lines\nn_classes: 2\n",
    "data/_ends.yaml": "# @package _global_\n# base: right ends\ndefaults:\n  - override /collate: ends\n",
    "ends.py": '''
import torch

def ends(inputs, targets, filler):
    """Rows padded in front, so that they end together, and which values are theirs."""
    longest = int(inputs.lengths.max())
    padded = torch.full((len(inputs), longest), filler)
    for made, row in zip(padded, inputs):
        made[longest - len(row):] = row
    return (padded, torch.arange(longest) >= longest - inputs.lengths[:, None]), targets
''',
    "collate/ends.yaml": "# my collate\n_target_: ends.ends\n_partial_: true\nfiller: 3\n",
    "most.py": '''
from torch import nn

class Most(nn.Module):
    """Of each output the largest over the real tokens."""

    def __init__(self, n_outputs):
        super().__init__()
        self.tokens = nn.Embedding(4, n_outputs)

    def forward(self, tokens, mask):
        return self.tokens(tokens).masked_fill(~mask[:, :, None], -1e9).amax(dim=1)
''',
    "model/most.yaml": "# my network on lines\ndefaults: [_network]\n_target_: most.Most\nn_outputs: ${n_outputs}\n",
}  # fmt: skip
"""Path in the folder to text: whatever is a folder is a group, and the code lies beside them."""

OWN = sorted(tuple(name.removesuffix(".yaml").split("/")) for name in FILES if "/" in name and "/_" not in name)
"""(group, name) of each."""


def write(folder: Path) -> Path:
    """The folder with all of them, for --config-dir."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
