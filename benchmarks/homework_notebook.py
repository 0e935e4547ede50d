"""Homework 3's training as its notebook writes it: the yardstick of benchmarks/homework.py, a process of its own.

    python benchmarks/homework_notebook.py DATA START REPORT DTYPE EPOCHS IMAGE_SIZE WIDTH BATCH_SIZE

Data set, transform, network and loop are those of the sample code ("not augmented", as it is handed out), without its
progress bars and its prints: every JPEG is opened each time that it is asked for, made 128 x 128, and made into
numbers; a batch goes forward and backward, gradients are cut to a norm of 10, Adam makes the update. Three things are
told from outside, so that the numbers can be compared: the weights that it starts from, the order of the images, and
the precision, which is float32 in the homework.

Source: NTU ML 2022 and 2023 Spring, homework 3 "Image Classification", sample code.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

import optbench.vision  # noqa: F401  (torchvision beside a torch for CPUs alone)

# isort: split
from torchvision import transforms


class FoodDataset(Dataset[tuple[Tensor, int]]):
    """The JPEGs of a folder, in the order of their names; the label stands before the underscore."""

    def __init__(self, path: str, image_size: int) -> None:
        self.files = sorted(os.path.join(path, x) for x in os.listdir(path) if x.endswith(".jpg"))
        self.transform = transforms.Compose([transforms.Resize((image_size, image_size)), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, idx: int) -> tuple[Tensor, int]:
        fname = self.files[idx]
        return self.transform(Image.open(fname)), int(os.path.basename(fname).split("_")[0])


class Classifier(nn.Module):
    """Five blocks conv3x3 - batch norm - ReLU - max pool, three linear layers; `width` is 64 in the homework."""

    def __init__(self, image_size: int = 128, width: int = 64) -> None:
        super().__init__()
        channels = (3, width, 2 * width, 4 * width, 8 * width, 8 * width)
        blocks: list[nn.Module] = []
        for before, after in pairwise(channels):
            blocks += [nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2, 2, 0)]
        self.cnn = nn.Sequential(*blocks)
        self.fc = nn.Sequential(
            nn.Linear(8 * width * (image_size // 32) ** 2, 16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, 11),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.cnn(x)
        logits: Tensor = self.fc(out.view(out.size()[0], -1))
        return logits


class Told(Sampler[int]):
    """The order of each epoch as it is told, one after another."""

    def __init__(self, orders: Sequence[Sequence[int]]) -> None:
        self.orders = iter(orders)

    def __iter__(self) -> Iterator[int]:
        return iter(next(self.orders))


def train(data: str, start: Any, epochs: int, image_size: int, width: int, batch_size: int) -> dict[str, list[float]]:
    """Trains as the notebook does.

    Args:
        data: folder with `training` and `validation`.
        start: weights ("model") and the order of the training images in each epoch ("orders").
        epochs, image_size, width, batch_size: 8, 128, 64 and 64 in the homework of 2023.

    Returns:
        The loss of each mini-batch, and after each epoch the mean of those of the validation's mini-batches.
    """
    train_set = FoodDataset(os.path.join(data, "training"), image_size)
    valid_set = FoodDataset(os.path.join(data, "validation"), image_size)
    train_loader = DataLoader(train_set, batch_size=batch_size, sampler=Told(start["orders"]), num_workers=0)
    valid_loader = DataLoader(valid_set, batch_size=batch_size, shuffle=True, num_workers=0)
    model = Classifier(image_size, width)
    model.load_state_dict(start["model"])
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0003, weight_decay=1e-5)
    best_acc = -1.0
    found: dict[str, list[float]] = {"loss": [], "val_loss": []}
    for _ in range(epochs):
        model.train()
        train_accs = []
        for imgs, labels in train_loader:
            logits = model(imgs)
            loss = criterion(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=10)
            optimizer.step()
            train_accs.append((logits.argmax(dim=-1) == labels).float().mean())
            found["loss"].append(loss.item())
        model.eval()
        valid_loss, valid_accs = [], []
        for imgs, labels in valid_loader:
            with torch.no_grad():
                logits = model(imgs)
            valid_loss.append(criterion(logits, labels).item())
            valid_accs.append((logits.argmax(dim=-1) == labels).float().mean())
        found["val_loss"].append(sum(valid_loss) / len(valid_loss))
        valid_acc = float(sum(valid_accs) / len(valid_accs))
        if valid_acc > best_acc:
            torch.save(model.state_dict(), "sample_best.ckpt")
            best_acc = valid_acc
    return found


if __name__ == "__main__":
    data, start, report, dtype, *sizes = sys.argv[1:]
    torch.set_default_dtype(getattr(torch, dtype))
    losses = train(data, torch.load(start, weights_only=True), *map(int, sizes))
    with open(report, "w") as file:
        json.dump(losses, file)
