"""Frozen image embeddings: `domain`, the penultimate layer of a classifier trained on real train images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augpipe.classification import Trained, embed, predict, train
from augpipe.classifiers import ClassifierOptions
from augpipe.images import ImageSet, Splits
from augpipe.mixing import Mix, Mixture
from augpipe.runtime import Runtime


@dataclass(frozen=True)
class Embedded:
    """vectors float32 (N,F); predicted class int64 (N,); labels int64 (N,)."""

    vectors: NDArray[np.float32]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]

    def of(self, label: int) -> Embedded:
        """The rows of one class."""
        own = self.labels == label
        return Embedded(self.vectors[own], self.predicted[own], self.labels[own])


def train_domain(
    splits: Splits, options: ClassifierOptions, runtime: Runtime, *, seed: int
) -> Trained:
    """A classifier of class-balanced, lightly transformed real images; sees train, its epoch chosen on val."""
    mix = Mix(sampler="balanced", transform="light")
    mixture = Mixture(splits.train, None, mix, runtime, seed=seed)
    return train(mixture, splits.val, options, runtime, seed=seed)


def embed_set(domain: Trained, images: ImageSet, runtime: Runtime) -> Embedded:
    """Features and predicted classes of a set."""
    probabilities = predict(domain, images, runtime)
    return Embedded(
        embed(domain, images, runtime),
        probabilities.argmax(1).astype(np.int64),
        np.array(images.labels),
    )
