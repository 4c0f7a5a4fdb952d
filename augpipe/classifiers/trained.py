"""A trained classifier: its state in a file, and the features and probabilities it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.classifiers.models import Classifier, Shape, build
from augpipe.classifiers.options import ClassifierOptions
from augpipe.core.device import Pool, Runtime
from augpipe.core.images import ImageSet, to_float
from augpipe.core.neighbours import nearest

PREDICTED_AT_ONCE = 512  # images per forward pass


@dataclass(frozen=True)
class Evaluation:
    """An evaluation on val during training."""

    step: int
    loss: float  # mean training loss since the last one
    val_macro_recall: float
    val_loss: float
    val_recalls: dict[int, float]  # label → recall, for classes present in val


@dataclass
class Trained:
    """A trained classifier, at its best checkpoint on val."""

    net: Classifier
    origin_flag: bool
    best_step: int
    history: list[Evaluation]


def state_of(trained: Trained, options: ClassifierOptions) -> dict[str, Any]:
    """The state that `from_state` restores, as tensors and plain values."""
    shape = trained.net.shape
    return {
        "weights": trained.net.state_dict(),
        "options": options.model_dump(mode="json"),
        "shape": list(astuple(shape)),
        "origin_flag": trained.origin_flag,
        "best_step": trained.best_step,
    }


def from_state(state: dict[str, Any], runtime: Runtime) -> Trained:
    """Restore a trained classifier from its state."""
    options = ClassifierOptions.model_validate(state["options"])
    net = build(options, Shape(*state["shape"]), torch.Generator())
    net.load_state_dict(state["weights"])
    runtime.place(net).eval()
    return Trained(net, state["origin_flag"], state["best_step"], [])


def inputs(images: torch.Tensor, synthetic: torch.Tensor | None, origin_flag: bool, runtime: Runtime) -> torch.Tensor:
    """uint8 (N,C,H,W) → float32 in [-1,1] on the device, with the origin flag as an extra channel if `origin_flag`.

    The flag is 1 for synthetic and 0 for real images; with `synthetic` None every image is real, as at test time
    (DAGAN: Antoniou et al. 2017).
    """
    x = to_float(runtime.move(images))
    if not origin_flag:
        return x
    n, _, h, w = x.shape
    flag = torch.zeros(n) if synthetic is None else synthetic.float()
    plane = flag.to(x.device)[:, None, None, None].expand(n, 1, h, w)
    return torch.cat([x, plane], 1).contiguous(memory_format=runtime.memory_format)


@torch.no_grad()
def forward(
    call: Callable[[torch.Tensor], torch.Tensor], net: Classifier, images: ImageSet, origin_flag: bool, runtime: Runtime
) -> torch.Tensor:
    """Float32 outputs (N,...) of `call`, the net or a part of it, in evaluation mode; the origin flag is 0 (real)."""
    net.eval()
    pool = Pool(images, runtime, limit=0)
    parts = []
    for rows in torch.arange(len(images)).split(PREDICTED_AT_ONCE):
        with runtime.autocast():
            parts.append(call(inputs(pool.gather(rows), None, origin_flag, runtime)).float().cpu())
    return torch.cat(parts)


def predict_beside(
    trained: Trained, images: ImageSet, synthetic: ImageSet, k: int, weight: float, runtime: Runtime
) -> NDArray[np.float32]:
    """Probabilities float32 (N,K) from features averaged with those of near synthetic images.

    The features become (1 - weight) times the image's plus `weight` times the mean of its k nearest in `synthetic`; all
    of them if there are fewer than k, none changes nothing. The origin flag of `synthetic` is 0, as for real images.
    """
    features, _ = embed_and_predict(trained, images, runtime)
    if len(synthetic):
        points, _ = embed_and_predict(trained, synthetic, runtime)
        _, rows = nearest(features, points, min(k, len(synthetic)))
        # In chunks: the gathered neighbours take k times the memory of the features.
        for start in range(0, len(features), PREDICTED_AT_ONCE):
            chunk = slice(start, start + PREDICTED_AT_ONCE)
            features[chunk] = (1 - weight) * features[chunk] + weight * points[rows[chunk]].mean(1)
    with torch.no_grad(), runtime.autocast():
        logits = trained.net.head(torch.from_numpy(features).to(runtime.device)).float().cpu()
    probabilities: NDArray[np.float32] = torch.softmax(logits, 1).numpy()
    return probabilities


def predict(trained: Trained, images: ImageSet, runtime: Runtime) -> NDArray[np.float32]:
    """Probabilities float32 (N,K); the origin flag, if the classifier has one, is 0 (real)."""
    logits = forward(trained.net, trained.net, images, trained.origin_flag, runtime)
    probabilities: NDArray[np.float32] = torch.softmax(logits, 1).numpy()
    return probabilities


def embed_and_predict(
    trained: Trained, images: ImageSet, runtime: Runtime
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Penultimate features float32 (N,F) and probabilities (N,K) as from `predict`, in one pass."""
    net = trained.net

    def both(x: torch.Tensor) -> torch.Tensor:
        h = net.trunk(x)
        return torch.cat([h.float(), net.head(h).float()], 1)

    outputs = forward(both, net, images, trained.origin_flag, runtime)
    width = net.head.in_features
    return outputs[:, :width].numpy(), torch.softmax(outputs[:, width:], 1).numpy()
