"""Train the CIFAR-10 AlexNet: small enough for a laptop's processor, the same weights every time.

Needs the extra `models`. With the same versions, processor and number of threads, two trainings give the same bytes;
with another number of threads sums are taken in another order, and they do not.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hi_book.makers.images import CIFAR10_MEAN
from hi_lib import checks

Progress = Callable[[int, float], None]
"""Takes the number of steps done since the last call and the loss of the last one."""

DEVIATION = (0.2470, 0.2435, 0.2616)
_PAD = 4  # pixels around a picture, from which a crop of the old size is taken
_PART = 1000  # pictures classified at once


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the pictures, the processor and the version of torch.

    Parameters
    ----------
    epochs : int
        Passes over the training pictures, >= 1.
    batch : int
        Pictures a step, >= 1.
    learning_rate : float
        The highest of the one-cycle schedule, for AdamW.
    dropout : float
        Before the first two dense layers, in [0, 1).
    seed : int
    threads : int
        Sums are split among this many.
    bfloat16 : bool
        Other weights; faster on processors that compute in it, many times slower on others.
    steps : int, optional
        Stop after so many steps in all, for trying things out.
    """

    epochs: int = 10
    batch: int = 128
    learning_rate: float = 1.5e-3
    dropout: float = 0.3
    seed: int = 0
    threads: int = 2
    bfloat16: bool = False
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "threads"):
            checks.whole(name, getattr(self, name))
        if self.steps is not None:
            checks.whole("steps", self.steps)


class AlexNet(nn.Module):
    """AlexNet for pictures of 32 x 32: five convolutions, three dense layers, 3.7 million weights.

    Krizhevsky, Sutskever and Hinton's order of layers (2012); smaller kernels and dense layers, for smaller pictures.
    """

    def __init__(self, classes: int = 10, dropout: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 64, stride=2),
            nn.MaxPool2d(2),
            *_convolution(64, 192),
            nn.MaxPool2d(2),
            *_convolution(192, 384),
            *_convolution(384, 256),
            *_convolution(256, 256),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(1024, 1024),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(1024, 384),
            nn.ReLU(inplace=True),
            nn.Linear(384, classes),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, 3, 32, 32) as `normalised` gives them."""
        return self.classifier(self.features(pictures))


def _convolution(source: int, target: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(source, target, 3, stride, padding=1), nn.ReLU(inplace=True)


def train(
    pictures: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    recipe: Recipe,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> AlexNet:
    """Train on pictures (n, 32, 32, 3) and labels (n,) from 0 to 9.

    Parameters
    ----------
    checkpoint : Path, optional
        Written after every epoch. A training that finds one of the same recipe and pictures goes on from there, and
        ends with the weights it would have had without the interruption.

    Raises
    ------
    ValueError
        Shapes that do not fit, labels outside 0 … 9.
    """
    if pictures.ndim != 4 or pictures.shape[1:] != (32, 32, 3) or pictures.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8 of shape (n, 32, 32, 3), got {pictures.dtype} {pictures.shape}")
    if labels.shape != pictures.shape[:1] or not ((labels >= 0) & (labels < 10)).all():
        raise ValueError(f"labels must be {len(pictures)} numbers from 0 to 9, got shape {labels.shape}")
    with _reproducible(recipe):
        return _train(_as_tensor(pictures), torch.from_numpy(labels.astype(np.int64)), recipe, checkpoint, progress)


def _train(
    pictures: Tensor, labels: Tensor, recipe: Recipe, checkpoint: Path | None, progress: Progress | None
) -> AlexNet:
    model = AlexNet(dropout=recipe.dropout).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    a_pass = -(-len(pictures) // recipe.batch)
    total = min(recipe.epochs * a_pass, recipe.steps or recipe.epochs * a_pass)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=max(total, 2))
    state = {"model": model, "optimiser": optimiser, "schedule": schedule}
    identity = {"recipe": asdict(recipe), "torch": str(torch.__version__), "pictures": _digest(pictures, labels)}
    first = _restore(checkpoint, identity, state)
    done = min(first * a_pass, total)
    if progress and done:
        progress(done, float("nan"))
    for epoch in range(first, recipe.epochs):
        # Seeded anew each epoch, so that one that starts from a checkpoint draws the same.
        torch.manual_seed(1000 * recipe.seed + epoch)
        for chosen in torch.randperm(len(pictures)).split(recipe.batch)[: max(total - epoch * a_pass, 0)]:
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                loss = functional.cross_entropy(model(_augmented(pictures[chosen])), labels[chosen])
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress:
                progress(1, loss.item())
        _save(checkpoint, identity, state, epoch + 1)
    return model.eval()


def classifier(model: nn.Module, threads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """What turns pictures (n, 32, 32, 3) into logits (n, classes)."""

    def logits(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            parts = [model(normalised(part)) for part in _as_tensor(pictures).split(_PART)]
        return torch.cat(parts).double().numpy()

    return logits


def normalised(pictures: Tensor) -> Tensor:
    """Pictures (n, 3, 32, 32) of uint8 as the network wants them: float32, mean 0 and deviation 1 over CIFAR-10."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, DEVIATION))
    return ((pictures / 255 - mean) / deviation).to(memory_format=torch.channels_last)


def _augmented(pictures: Tensor) -> Tensor:
    """Each picture shifted by up to four pixels, its border mirrored, and flipped half of the time."""
    count, _, side, _ = pictures.shape
    padded = functional.pad(pictures.float(), (_PAD,) * 4, mode="reflect").permute(0, 2, 3, 1)
    down, right = torch.randint(2 * _PAD + 1, (2, count, 1))
    rows, columns = down + torch.arange(side), right + torch.arange(side)
    flipped = torch.rand(count) < 0.5
    columns[flipped] = columns[flipped].flip(1)
    return normalised(
        padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    )


def _as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)


def _digest(*tensors: Tensor) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def _restore(checkpoint: Path | None, identity: dict[str, Any], state: dict[str, Any]) -> int:
    """Load a checkpoint of this very training, if there is one; return how many epochs it has behind it."""
    if checkpoint is None or not checkpoint.is_file():
        return 0
    try:
        found = torch.load(checkpoint, weights_only=True)
        same = found["identity"] == identity
    except Exception as error:  # torch raises a different kind for every way a file can be wrong
        raise ValueError(f"{checkpoint} is not a readable checkpoint; delete it to start anew") from error
    if not same:
        return 0
    for name, part in state.items():
        part.load_state_dict(found[name])
    return found["epochs"]


def _save(checkpoint: Path | None, identity: dict[str, Any], state: dict[str, Any], epochs: int) -> None:
    if checkpoint is None:
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    part = checkpoint.with_suffix(".part")
    torch.save(
        {name: each.state_dict() for name, each in state.items()} | {"identity": identity, "epochs": epochs}, part
    )
    part.replace(checkpoint)


@contextlib.contextmanager
def _reproducible(recipe: Recipe) -> Iterator[None]:
    """Same input, same weights: deterministic algorithms and a fixed number of threads, put back at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
