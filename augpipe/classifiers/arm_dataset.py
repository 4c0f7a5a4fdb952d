"""The training images of an arm as a torch data set, with the probability that the arm draws each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, WeightedRandomSampler, get_worker_info

from augpipe.classifiers import mixing
from augpipe.classifiers.options import Mix
from augpipe.classifiers.transforms import transform
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy


class ArmDataset(Dataset[tuple[torch.Tensor, int]]):
    """Real images, then synthetic ones; an item is the image uint8 (C,H,W) and its label.

    Attributes
    ----------
    classes : tuple of str
        Name of each label.
    labels : Tensor int64 of shape (N,)
        Label of each image.
    synthetic : Tensor bool of shape (N,)
        Whether an image is synthetic.
    weights : Tensor float64 of shape (N,)
        Probability that an item which the arm draws is this image; they sum to 1. `sampler` draws by them.
    mix : Mix
        The arm's options. Of these the data set holds what concerns images: `sampler`, `share`, `until` (as its mean
        over the training), `prefer`, and the `transform`, which is applied to each item. Loss, class weights, `blend`,
        `soft` and `norms_apart` concern the training and are left to it.

    Examples
    --------
    dataset = result.best.as_dataset()
    loader = DataLoader(dataset, batch_size=64, sampler=dataset.sampler())
    """

    def __init__(self, real: ImageSet, synthetic: ImageSet | None, mix: Mix, seed: int) -> None:
        self._sets = [real] if synthetic is None else [real, synthetic]
        self.mix, self.classes, self._seed = mix, real.classes, seed
        self.labels = torch.cat([torch.from_numpy(np.array(part.labels)) for part in self._sets])
        self.synthetic = torch.arange(len(self.labels)) >= len(real)
        self.weights = torch.from_numpy(_weights(real, synthetic, mix))
        self._transforms: dict[int, Any] = {}  # process's seed → transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        real = self._sets[0]
        part, row = (real, index) if index < len(real) else (self._sets[-1], index - len(real))
        image, label = part[row]
        if self.mix.transform is not None:
            image = self._transform()(image[None])[0]
        return image, label

    def sampler(self, n: int | None = None, generator: torch.Generator | None = None) -> WeightedRandomSampler:
        """Draw rows as the arm does, with replacement; n: items in an epoch, by default as many as images."""
        return WeightedRandomSampler(self.weights.tolist(), n or len(self), replacement=True, generator=generator)

    def _transform(self) -> Any:
        """The transform with a random stream of this process: workers with the same one would repeat each other."""
        worker = get_worker_info()
        seed = entropy(self._seed if worker is None else worker.seed, "transform")
        if seed not in self._transforms and self.mix.transform is not None:
            self._transforms[seed] = transform(self.mix.transform, seed)
        return self._transforms[seed]


def _weights(real: ImageSet, synthetic: ImageSet | None, mix: Mix) -> NDArray[np.float64]:
    """Probability of each image: of its class, of its origin within the class, and of itself by its weight."""
    have = real.counts()
    added = dict.fromkeys(have, 0) if synthetic is None else synthetic.counts()
    share = mixing.shares(have, added, mix, real.classes)
    of_class = mixing.class_probabilities(have, mixing.drawn_counts(added, share), mix).numpy()
    of_synthetic = share.numpy() * mix.until
    parts = [_within_classes(real, of_class * (1 - of_synthetic))]
    if synthetic is not None:
        parts.append(_within_classes(synthetic, of_class * of_synthetic))
    return np.concatenate(parts)


def _within_classes(images: ImageSet, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each class's probability, (K,), among its images by their weights, (N,)."""
    weights = np.array(images.table["weight"], np.float64)
    totals = np.bincount(images.labels, weights, minlength=len(images.classes))
    divided: NDArray[np.float64] = probabilities[images.labels] * weights / totals[images.labels]
    return divided
