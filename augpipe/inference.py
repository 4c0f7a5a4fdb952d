"""Images from a trained generator, and predictions of a trained classifier, from the files that a run leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from augpipe import serving
from augpipe.core.counts import check_available
from augpipe.core.errors import UserError
from augpipe.core.files import digest, scratch
from augpipe.core.home import home
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet
from augpipe.core.store import Store
from augpipe.data.quarantine import reason_for_model
from augpipe.data.sources import Blob
from augpipe.data.sources._pictures import UNREADABLE, quiet, read
from augpipe.data.unlabelled import Pictures
from augpipe.generators.protocol import Finite
from augpipe.pipeline.model_places import CLASSIFIER, GENERATOR, WEIGHTS, wrong_kind
from augpipe.report.forms import Origin
from augpipe.report.predictions import table
from augpipe.synthetic.draw import Filter, available

AT_ONCE: Final = 512  # pictures in memory


def load_generator(place: Path) -> serving.ServedGenerator:
    """A generator from its file or folder, with training sets of the store below AUGPIPE_HOME.

    UserError for a classifier, and for what is no model.
    """
    model = serving.load(place, Store(home() / "store").images)
    if not isinstance(model, serving.ServedGenerator):
        raise wrong_kind(place, GENERATOR)
    return model


def load_classifier(place: Path) -> serving.ServedClassifier:
    """A classifier from its file or folder. UserError for a generator, and for what is no model."""
    model = serving.load(place)
    if not isinstance(model, serving.ServedClassifier):
        raise wrong_kind(place, CLASSIFIER)
    return model


def training_images(model: serving.ServedGenerator) -> tuple[ImageSet | None, str]:
    """The training images of a generator, from the store below AUGPIPE_HOME or its file, or None and why not."""
    if isinstance(model.generator, Finite):
        return None, "its images were made elsewhere"
    train = model.reference or (Store(home() / "store").images(model.train_sha256) if model.train_sha256 else None)
    if train is None:
        return None, "its training images are no longer in the store below AUGPIPE_HOME"
    if tuple(train.classes) != tuple(model.classes) or train.spec != model.spec:
        return None, "the training images in the store have other classes or another shape"
    return train, ""


@contextmanager
def drawn(
    model: serving.ServedGenerator, counts: Mapping[int, int], seed: int, curator: Filter | None = None
) -> Iterator[tuple[ImageSet, dict[str, int]]]:
    """counts[label] images of each class, in class order, on disk while the block lasts; class → images missing.

    The same model, counts and seed give the same images. curator: only images that it accepts; UserError if there is
    none. UserError for more images than a model has that draws each once.
    """
    limit = available(model.generator)
    if limit is not None and curator is None:
        check_available(counts, limit, model.classes)
    with scratch("augpipe-generated") as folder:
        images, short = model.draw(counts, seed, Store(folder), curator)
        if not len(images):
            raise UserError(
                "no image passed the run's checks; see the passed fractions in its report, or use --unchecked"
            )
        yield images, {model.classes[label]: n for label, n in short.items()}


def origin(model: serving.ServedGenerator, place: Path, seed: int) -> Origin:
    """The origin of images drawn from a model's file or folder."""
    weights = place / WEIGHTS if place.is_dir() else place
    return Origin(model.kind, model.checkpoint or digest(weights), seed)


def predict(model: serving.ServedClassifier, inputs: Sequence[Pictures], most: int = AT_ONCE) -> Iterator[pd.DataFrame]:
    """`id, predicted, probability, probability_NAME ..., problem` of each picture, in parts of at most `most` pictures.

    A picture that cannot be read has no prediction but a problem; files that the listing found unusable come last, in
    one part. `probability_NAME` only up to `predictions.MOST_CLASSES` classes. Probabilities are calibrated if the
    model has a temperature: those of a run's `models/` do, logged ones do not. UserError for a classifier without image
    options.
    """
    for pictures in inputs:
        rows = np.arange(len(pictures.ids))
        blobs = pictures.fetch(rows)
        for start in range(0, len(rows), most):
            ids = pictures.ids[start : start + most]
            yield _predicted(model, ids, list(islice(blobs, len(ids))))
        if pictures.bad:
            yield pd.DataFrame({"id": [b.id for b in pictures.bad], "problem": [b.reason for b in pictures.bad]})


def _predicted(model: serving.ServedClassifier, ids: Sequence[str], blobs: Sequence[Blob]) -> pd.DataFrame:
    options = model.image
    spec = ImageSpec(options.size or 0, options.channels or 0)
    images, problems = [], []
    with quiet():
        for blob in blobs:
            try:
                images.append(read(blob, spec, options.resize, options.window).image)
                problems.append("")
            except UNREADABLE as error:
                problems.append(reason_for_model(error, options.window))
    usable = [name for name, problem in zip(ids, problems, strict=True) if not problem]
    stacked = np.stack(images) if images else np.empty((0, *spec.shape), np.uint8)
    known = table(usable, model.probabilities(stacked), model.classes)
    whole = pd.DataFrame({"id": np.asarray(ids, object), "problem": problems})
    places = np.flatnonzero([not problem for problem in problems])
    known.index = pd.Index(places)
    return whole[["id"]].join(known.drop(columns="id")).join(whole[["problem"]])
