"""Load models: logged ones in MLflow, whose files it also writes, and the single files of a run or training.

A logged model is a folder: `weights.pt`, the checkpoint, read with `weights_only=True`; for a classifier
`classifier.json`, with its class names and image options; for a generator that derives images from its training set,
that set's `images.npy` and `labels.npy`. Loading it runs the installed augpipe's code and nothing that came with the
model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.calibration import calibrated
from augpipe.core import device as runtime
from augpipe.core.counts import Counts, parse_counts
from augpipe.core.errors import UserError, one_line
from augpipe.core.files import write_json
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, provenance
from augpipe.core.machine import cores
from augpipe.core.options import ImageOptions
from augpipe.core.refs import Ref
from augpipe.core.store import Store, load_images, load_state
from augpipe.data.intake import read_pictures
from augpipe.data.picture_inputs import NAME_LENGTH, blobs_of
from augpipe.generators import families
from augpipe.generators.protocol import Generator
from augpipe.generators.truncation import truncate
from augpipe.pipeline import model_files, model_places
from augpipe.pipeline.model_files import probability_columns
from augpipe.pipeline.model_places import WEIGHTS, no_model
from augpipe.synthetic import draw

CLASSIFIER = "classifier.json"


def write_classifier(folder: Path, state: Path, classes: Sequence[str], spec: ImageSpec, options: ImageOptions) -> None:
    """Write the files of a logged classifier into a new folder.

    state: the stored checkpoint. spec: the image size and channels that the run chose if `options` leave them open.
    """
    folder.mkdir(parents=True)
    shutil.copyfile(state, folder / WEIGHTS)
    resolved = options.model_copy(update={"size": spec.size, "channels": spec.channels})
    bundle = {
        "classes": list(classes),
        "image": resolved.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("augpipe", "torch")},
    }
    write_json(folder / CLASSIFIER, bundle)


def write_generator(
    folder: Path, checkpoint: Path, reference: Ref | None, limit: int = model_files.REFERENCE_LIMIT
) -> None:
    """Write the files of a logged generator into a new folder.

    reference: the images that the family draws from (`GeneratorConfig.draws_from_images`), else None.
    Raises NotWrittenError if the reference images exceed `limit` bytes.
    """
    images = None if reference is None else load_images(reference)
    if images is not None:
        model_files.check_size(images, limit)
    folder.mkdir(parents=True)
    shutil.copyfile(checkpoint, folder / WEIGHTS)
    if images is not None:
        np.save(folder / "images.npy", images.images)
        np.save(folder / "labels.npy", images.labels)


class ServedClassifier:
    """Pictures of any size → a label and named probabilities for each.

    A classifier logged by an earlier version has neither class names nor image options: it takes uint8 (N,C,H,W) of its
    own size and returns probabilities float32 (N,K).
    """

    def __init__(self, state: dict[str, Any], bundle: dict[str, Any] | None = None) -> None:
        self._runtime = runtime.start(threads=cores())
        self._trained = trained_classifier.from_state(state, self._runtime)
        self._options = None if bundle is None else ImageOptions.model_validate(bundle["image"])
        unnamed = [str(label) for label in range(state["shape"][1])]
        self.classes = tuple(unnamed if bundle is None else bundle["classes"])
        self._temperature = float((bundle or {}).get("temperature", 1.0))

    def predict(self, pictures: Any, params: dict[str, Any] | None = None) -> pd.DataFrame | NDArray[np.float32]:
        """Columns `label`, and `probability_NAME` for each class, a row a picture.

        pictures: an array uint8 (N,C,H,W), (N,H,W,C) or (N,H,W); or a sequence or a table's column of arrays (of any
        sizes), nested lists, paths, Pillow images, bytes of picture files, or these bytes as base64. Raises UserError
        that names the first picture that cannot be read.
        """
        if self._options is None:
            return self.probabilities(np.ascontiguousarray(pictures, dtype=np.uint8))
        names, blobs = blobs_of(pictures)
        probabilities = self.probabilities(read_pictures(blobs, names, self._options))
        table = pd.DataFrame(probabilities, columns=probability_columns(self.classes))
        labels = [self.classes[at] for at in probabilities.argmax(1)] if len(names) else []
        table.insert(0, "label", pd.Series(labels, dtype=object))
        return table

    @property
    def image(self) -> ImageOptions:
        """How pictures become the arrays it takes; UserError for a classifier of an earlier version, which has none."""
        if self._options is None:
            raise UserError("the classifier was logged by an earlier version, without image options")
        return self._options

    @property
    def trained(self) -> trained_classifier.Trained:
        """The classifier."""
        return self._trained

    @property
    def temperature(self) -> float:
        """By which logits are divided; 1 for a model without one."""
        return self._temperature

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N,C,H,W) of its own size → float32 (N,K), calibrated if the model has a temperature."""
        if len(images) == 0:
            return np.empty((0, len(self.classes)), np.float32)
        rows = _unnamed_set(images, np.zeros(len(images), np.int64), self.classes)
        probabilities = trained_classifier.predict(self._trained, rows, self._runtime)
        return probabilities if self._temperature == 1 else calibrated(probabilities, self._temperature)


class ServedGenerator:
    """Labels int64 (N,), or images of each class, → uint8 (N,C,H,W).

    reference: the training set of a family that derives images from it. find: looks it up by its digest if it is None.
    """

    def __init__(
        self, checkpoint: dict[str, Any], reference: ImageSet | None = None, find: families.Find = lambda sha256: None
    ) -> None:
        here = runtime.start(threads=cores())
        self._generator, problem = families.unpack(
            checkpoint, here, lambda sha256: self._train(find, sha256, reference)
        )
        self.classes, self.spec = problem.classes, problem.spec
        self.kind = str(checkpoint["config"]["kind"])
        self.train_sha256 = str(checkpoint["train"].get("sha256", ""))  # of the training set
        self.checkpoint = ""  # SHA-256 of the checkpoint, if the file holds another one's content

    def _train(self, find: families.Find, sha256: str, reference: ImageSet | None) -> ImageSet | None:
        self._reference = find(sha256) if reference is None else reference
        return self._reference

    _reference: ImageSet | None = None

    @property
    def reference(self) -> ImageSet | None:
        """The images that the family draws from, if it does."""
        return self._reference

    def predict(self, labels: NDArray[np.int64], params: dict[str, Any] | None = None) -> NDArray[np.uint8]:
        """labels int64 (N,), of any other shape flattened → uint8 (N,C,H,W), an image of each label's class.

        params: `seed`, 0 by default; the same labels and seed give the same images. `counts`, such as `3=500,7=200` or
        a number for every class: the labels are then those of these counts, in the order of the classes, and `labels`
        must be empty. UserError for counts of other classes, or beside labels.
        """
        options = params or {}
        rng = torch.Generator()
        rng.manual_seed(int(options.get("seed", 0)))
        requested = torch.from_numpy(np.asarray(labels, dtype=np.int64).ravel())
        if options.get("counts"):
            requested = self._labels_of(str(options["counts"]), len(requested))
        images: NDArray[np.uint8] = self._generator.sample(requested, rng).numpy()
        return images

    def _labels_of(self, counts: str, n: int) -> torch.Tensor:
        """The labels of class counts; n: labels beside them, which must be 0."""
        if n:
            raise UserError(f"counts and {n} labels were given; give an empty array of labels beside counts")
        wanted = parse_counts([counts], self.classes)
        return torch.tensor([label for label in sorted(wanted) for _ in range(wanted[label])], dtype=torch.int64)

    @property
    def generator(self) -> Generator:
        """The generator."""
        return self._generator

    def truncate(self, psi: float) -> None:
        """Truncate the latents of later images; see `generators.truncation`. UserError if the family has none."""
        truncate(self._generator, psi, self.kind)

    def draw(
        self, counts: Counts, seed: int, store: Store, curator: draw.Filter | None = None
    ) -> tuple[ImageSet, dict[int, int]]:
        """counts[c] images of each class c, written to the store as they are drawn, with ids, and parents if it
        derives.

        curator: only images that it accepts. Also returns label → images that are missing, for those of which too few
        passed.
        """
        train = self._reference
        if train is None:
            empty = np.empty((0, *self.spec.shape), np.uint8)
            train = _unnamed_set(empty, np.empty(0, np.int64), self.classes)
        sampled = draw.sample(self._generator, counts, train, name=self.kind, seed=seed, store=store, curator=curator)
        return load_images(sampled.images), sampled.short


def _load_pyfunc(path: str) -> ServedClassifier | ServedGenerator:
    """Entry point of MLflow for a logged folder; a model of an earlier version is a single file."""
    return load(Path(path))


def load(place: Path, find: families.Find = lambda sha256: None) -> ServedClassifier | ServedGenerator:
    """A model from a file (of a run's `models/`, or a generator's checkpoint), or from a logged model's folder.

    find: looks up a training set by its digest, for checkpoints of families that derive images from it.
    UserError if it is not a model.
    """
    if place.is_file():
        return _load_file(place, find)
    state = _read(place / WEIGHTS)
    if "config" in state:
        return ServedGenerator(state, _reference(place, state))
    if "shape" not in state:
        raise no_model(place)
    return ServedClassifier(state, _bundle(place / CLASSIFIER))


def _bundle(path: Path) -> dict[str, Any] | None:
    """Class names and image options beside a logged classifier; None for one of an earlier version."""
    if not path.is_file():
        return None
    try:
        bundle: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        ImageOptions.model_validate(bundle["image"])
        return bundle if bundle["classes"] else None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read {path}: {one_line(error)[:NAME_LENGTH]}") from None


def _load_file(place: Path, find: families.Find) -> ServedClassifier | ServedGenerator:
    content = _read(place)
    kind = content.get("augpipe")
    if kind == model_places.CLASSIFIER:
        return ServedClassifier(content["state"], content)
    if kind == model_places.GENERATOR:
        generator = ServedGenerator(content["state"], model_files.reference_of(content))
        generator.checkpoint = content["checkpoint"]
        return generator
    if "config" in content:
        return ServedGenerator(content, find=find)
    if "shape" in content:
        return ServedClassifier(content)
    raise no_model(place)


def _read(path: Path) -> dict[str, Any]:
    """A file of weights; no code of it is run. UserError if it is damaged."""
    try:
        model_places.check_whole(path)
        state = load_state(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except UserError:
        raise
    # Not torch's message, which advises to load the file anyway.
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, LookupError):
        raise no_model(path) from None
    if not isinstance(state, dict):
        raise no_model(path)
    return state


def _reference(folder: Path, checkpoint: dict[str, Any]) -> ImageSet | None:
    """The reference images beside a generator's weights, memory-mapped; None if it has none."""
    if not (folder / "images.npy").is_file():
        return None
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    return _unnamed_set(images, labels, checkpoint["classes"])


def _unnamed_set(images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str]) -> ImageSet:
    """Image set without known sources."""
    return ImageSet(images, labels, classes, provenance([str(at) for at in range(len(labels))]))
