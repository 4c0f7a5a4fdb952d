"""Frozen image embeddings: what a set of images is, to the metrics and checks that judge it.

`domain` is the penultimate layer of a classifier trained on real train images; networks that learned elsewhere
are in `extractors`. Embeddings are kept by content: the same images under the same network are embedded once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.classifiers.train import Trained, embed_and_predict
from augpipe.core import fingerprints as code
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.store import Store

HASHED_AT_ONCE = 4096


@dataclass(frozen=True)
class Embedded:
    """A set as its judges see it.

    vectors: features float32 (N,F). probabilities: of each class by the real-only classifier, float32 (N,K).
    labels: int64 (N,). images: uint8 (N,C,H,W).
    """

    vectors: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    images: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that the real-only classifier sees, int64 (N,)."""
        found: NDArray[np.int64] = self.probabilities.argmax(1).astype(np.int64)
        return found

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Embedded:
        """Some rows, in their order."""
        return Embedded(
            self.vectors[rows], self.probabilities[rows], self.labels[rows], self.images[rows]
        )

    def of(self, label: int) -> Embedded:
        """The rows of one class."""
        return self.take(np.flatnonzero(self.labels == label))

    def join(self, other: Embedded) -> Embedded:
        """Both, one after the other."""
        if min(len(self), len(other)) == 0:  # of no images, the width of features may be unknown
            return self if len(self) else other
        return Embedded(
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.probabilities, other.probabilities]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.images, other.images]),
        )


class Extractor(Protocol):
    """A frozen network: digest says which; vectors maps a set to features float32 (N,F)."""

    digest: str

    def vectors(self, images: ImageSet) -> NDArray[np.float32]:
        """The features of a set."""


class Eyes:
    """What images are looked at with: the domain classifier, and its features or another network's.

    store: where embeddings are kept by content; without one nothing is kept.
    """

    def __init__(
        self,
        domain: Trained,
        runtime: Runtime,
        extractor: Extractor | None = None,
        store: Store | None = None,
    ) -> None:
        self._domain, self._runtime = domain, runtime
        self._extractor, self._store = extractor, store
        whole = hashlib.sha256()
        for name, value in domain.net.state_dict().items():
            whole.update(name.encode())
            whole.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        whole.update(
            f"{runtime.precision} {runtime.device.type} {torch.get_num_threads()}".encode()
        )
        try:
            own = code.fingerprint(["augpipe.synthetic.embeddings", "augpipe.synthetic.extractors"])
        except code.ChangedError:
            self._store = None
        else:
            libraries = {"torch": str(torch.__version__), **code.libraries()}
            whole.update(f"{own} {sorted(libraries.items())}".encode())
        self._digest = f"{whole.hexdigest()} {extractor.digest if extractor else 'domain'}"

    def embed(self, images: ImageSet) -> Embedded:
        """A set as its judges see it; the images of a stored set stay memory-mapped."""
        if self._store is None:
            found = self._look(images)
        else:
            key = hashlib.sha256(f"{self._digest} {content(images)}".encode()).hexdigest()
            found = self._store.keyed("features", key[:20], lambda: self._look(images))
        vectors, probabilities = found["vectors"].numpy(), found["probabilities"].numpy()
        return Embedded(vectors, probabilities, np.array(images.labels), images.images)

    def _look(self, images: ImageSet) -> dict[str, torch.Tensor]:
        if len(images) == 0:
            wide = self._domain.net.head.in_features
            return {
                "vectors": torch.empty(0, wide),
                "probabilities": torch.empty(0, len(images.classes)),
            }
        vectors, probabilities = embed_and_predict(self._domain, images, self._runtime)
        if self._extractor is not None:
            vectors = self._extractor.vectors(images)
        return {
            "vectors": torch.from_numpy(np.ascontiguousarray(vectors)),
            "probabilities": torch.from_numpy(np.ascontiguousarray(probabilities)),
        }


def content(images: ImageSet) -> str:
    """SHA-256 of a set's pixels and their shape."""
    whole = hashlib.sha256(repr(images.images.shape).encode())
    for start in range(0, len(images), HASHED_AT_ONCE):
        whole.update(np.ascontiguousarray(images.images[start : start + HASHED_AT_ONCE]).tobytes())
    return whole.hexdigest()
