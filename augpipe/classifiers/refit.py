"""Replace the head of a trained classifier by one that is fitted to its features of real images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from augpipe.classifiers.features import Features, HeadData, LinearHead
from augpipe.classifiers.head_fits import fit
from augpipe.classifiers.heads import Head, OfFeatures
from augpipe.classifiers.models import head_of
from augpipe.classifiers.trained import PREDICTED_AT_ONCE, Trained, forward, inputs
from augpipe.classifiers.transforms import transform
from augpipe.core.device import Pool, Runtime
from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy


def refit(
    trained: Trained, head: Head, spec: Any, images: tuple[ImageSet, ImageSet], runtime: Runtime, *, seed: int
) -> dict[str, float]:
    """Replace the classifier's head; returns the options that were chosen on val.

    spec: the transform of train images, or None. images: train, on which the classifier was trained, and val.
    """
    train, val = images
    counts = np.bincount(np.array(train.labels), minlength=len(train.classes))
    views = head.views if isinstance(head, OfFeatures) else 0
    data = HeadData(
        _features(trained, train, views, spec, runtime, seed),
        Features(_points(trained, val, runtime), np.array(val.labels)),
        counts,
        _as_linear(trained),
    )
    fitted = fit(head, data, entropy(seed, "head"))
    _replace_head(trained, fitted, runtime)
    return dict(fitted.chosen)


def _as_linear(trained: Trained) -> LinearHead:
    """The trained head; that of a cosine head has its weights and scale."""
    head = trained.net.head
    weight = head.weight.detach().double().cpu().numpy()
    bias = np.zeros(len(weight)) if head.bias is None else head.bias.detach().double().cpu().numpy()
    return LinearHead(weight, bias, scale=trained.net.shape.scale)


def _points(trained: Trained, images: ImageSet, runtime: Runtime) -> np.ndarray:
    """Features (N,F) of images as they are."""
    return forward(trained.net.features, trained.net, images, False, runtime).double().numpy()


def _features(trained: Trained, images: ImageSet, views: int, spec: Any, runtime: Runtime, seed: int) -> Features:
    """Features of the images, each shown `views` times with the transform; once, as they are, without one."""
    labels = np.array(images.labels)
    if not views:
        return Features(np.zeros((0, trained.net.head.in_features)), labels[:0])
    if spec is None:
        return Features(_points(trained, images, runtime), labels)
    change, pool, parts = transform(spec, entropy(seed, "head transform")), Pool(images, runtime, limit=0), []
    trained.net.eval()
    with torch.no_grad():
        for _ in range(views):
            for rows in torch.arange(len(images)).split(PREDICTED_AT_ONCE):
                with runtime.autocast():
                    x = inputs(change(pool.gather(rows)), None, False, runtime)
                    parts.append(trained.net.features(x).float().cpu())
    return Features(torch.cat(parts).double().numpy(), np.tile(labels, views))


def _replace_head(trained: Trained, fitted: LinearHead, runtime: Runtime) -> None:
    net = trained.net
    net.shape = replace(net.shape, scale=fitted.scale, power=fitted.power)
    net.head = head_of(net.shape, net.head.in_features)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(fitted.weight))
        if net.head.bias is not None:
            net.head.bias.copy_(torch.from_numpy(fitted.bias))
    runtime.place(net).eval()
