"""Frozen image embeddings, on which the fidelity metrics and curation checks work.

`domain` features are the penultimate layer of a classifier trained on real train images; networks with published
weights are in `extractors`. Embeddings are cached by content: the same images under the same network are embedded once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.classifiers.trained import Trained, embed_and_predict
from augpipe.core import fingerprints as code
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.store import Store

HASHED_AT_ONCE = 4096


@dataclass(frozen=True)
class Embedded:
    """The embedding of an image set.

    vectors: features float32 (N,F). probabilities: of each class by the real-only classifier, float32 (N,K).
    labels: int64 (N,). images: uint8 (N,C,H,W). groups: of each image, object (N,), see `images.provenance`; None: each
    image is its own. class_of: class of each label, where labels are cells of class and attributes; empty: the classes
    themselves.
    """

    vectors: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    images: NDArray[np.uint8]
    groups: NDArray[np.object_] | None = None
    class_of: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class of each image, int64 (N,)."""
        return np.array(self.class_of, np.int64)[self.labels] if self.class_of else self.labels

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that the real-only classifier predicts, int64 (N,)."""
        predicted: NDArray[np.int64] = self.probabilities.argmax(1).astype(np.int64)
        return predicted

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Embedded:
        """A subset of the rows."""
        groups = None if self.groups is None else self.groups[rows]
        parts = (self.vectors[rows], self.probabilities[rows], self.labels[rows], self.images[rows])
        return Embedded(*parts, groups, self.class_of)

    def of(self, label: int) -> Embedded:
        """The rows of one class."""
        return self.take(np.flatnonzero(self.labels == label))

    def join(self, other: Embedded) -> Embedded:
        """Concatenate two sets; without groups, unless both have them."""
        if min(len(self), len(other)) == 0:  # an empty set may have another feature width
            return self if len(self) else other
        groups = None
        if self.groups is not None and other.groups is not None:
            groups = np.concatenate([self.groups, other.groups])
        return Embedded(
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.probabilities, other.probabilities]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.images, other.images]),
            groups,
            self.class_of,
        )


class Extractor(Protocol):
    """A frozen network. digest: identifies network and weights. vectors: image set → features float32 (N,F)."""

    digest: str

    def vectors(self, images: ImageSet) -> NDArray[np.float32]:
        """The features of a set."""


class FeatureExtractor:
    """Embeds image sets with the real-only classifier, and the features of `extractor` if given.

    store: caches embeddings by content; None disables the cache.
    """

    def __init__(
        self,
        reference_classifier: Trained,
        runtime: Runtime,
        extractor: Extractor | None = None,
        store: Store | None = None,
    ) -> None:
        self._reference_classifier, self._runtime = reference_classifier, runtime
        self._extractor, self._store = extractor, store
        digest = hashlib.sha256()
        for name, value in reference_classifier.net.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        digest.update(f"{runtime.precision} {runtime.device.type} {torch.get_num_threads()}".encode())
        try:
            code_digest = code.fingerprint(["augpipe.synthetic.embeddings", "augpipe.synthetic.extractors"])
        except code.ChangedError:
            self._store = None
        else:
            libraries = {"torch": str(torch.__version__), **code.libraries()}
            digest.update(f"{code_digest} {sorted(libraries.items())}".encode())
        self._digest = f"{digest.hexdigest()} {extractor.digest if extractor else 'domain'}"

    def embed(self, images: ImageSet) -> Embedded:
        """Embed a set, from the cache if possible; the images of a stored set stay memory-mapped."""
        if self._store is None:
            tensors = self._embed(images)
        else:
            key = hashlib.sha256(f"{self._digest} {content(images)}".encode()).hexdigest()
            tensors = self._store.keyed("features", key[:20], lambda: self._embed(images))
        vectors, probabilities = tensors["vectors"].numpy(), tensors["probabilities"].numpy()
        groups = images.table["group"].to_numpy()
        return Embedded(vectors, probabilities, np.array(images.labels), images.images, groups)

    def _embed(self, images: ImageSet) -> dict[str, torch.Tensor]:
        if len(images) == 0:
            width = self._reference_classifier.net.head.in_features
            return {"vectors": torch.empty(0, width), "probabilities": torch.empty(0, len(images.classes))}
        vectors, probabilities = embed_and_predict(self._reference_classifier, images, self._runtime)
        if self._extractor is not None:
            vectors = self._extractor.vectors(images)
        return {
            "vectors": torch.from_numpy(np.ascontiguousarray(vectors)),
            "probabilities": torch.from_numpy(np.ascontiguousarray(probabilities)),
        }


def content(images: ImageSet) -> str:
    """SHA-256 of a set's pixels and their shape."""
    digest = hashlib.sha256(repr(images.images.shape).encode())
    for start in range(0, len(images), HASHED_AT_ONCE):
        digest.update(np.ascontiguousarray(images.images[start : start + HASHED_AT_ONCE]).tobytes())
    return digest.hexdigest()
