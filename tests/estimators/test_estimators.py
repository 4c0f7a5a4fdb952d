"""Estimators: the checks of scikit-learn and imbalanced-learn, forms of images, mistakes,
a pipeline with a grid search.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imblearn.pipeline import Pipeline
from imblearn.utils.estimator_checks import estimator_checks_generator as sampler_checks
from numpy.typing import NDArray
from PIL import Image
from shapes import shapes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch.utils.data import Dataset

from augpipe import Balancer, Synthesizer, UserError
from augpipe.core.device import set_fill
from augpipe.core.images import ImageSet
from augpipe.estimators.inputs import Layout, image_set

# Checks that cannot apply, and why. Those of tables of floats run, with the values as pixels: see `Tables`.
INAPPLICABLE = {"check_samplers_pandas_sparse": "pixels are dense; sparse data are refused, which other checks require"}


class Tables(Layout):
    """A table of numbers as square pictures: its values, scaled to 0 to 255, are the first pixels."""

    def from_planes(self, planes: NDArray[np.uint8]) -> NDArray[Any]:
        return planes.reshape(len(planes), -1)[:, : self.shape[0]].astype(self.dtype)


class TableSynthesizer(Synthesizer):
    """The estimator on the tables of the checks; all but the conversion of values to pixels is its own."""

    def _image_set(self, images: NDArray[Any], codes: NDArray[Any]) -> tuple[Layout, ImageSet]:
        n, features = images.shape
        side = math.ceil(math.sqrt(features))
        span = max(float(np.ptp(images)), 1e-9)
        planes = np.zeros((n, side * side), np.uint8)
        planes[:, :features] = (255 * ((images - images.min()) / span)).astype(np.uint8)
        train = image_set(planes.reshape(n, 1, side, side), codes.astype(np.int64), self.classes_)
        return Tables("HW", (features,), True, images.dtype), train


class TableBalancer(Balancer):
    def _synthesizer(self) -> Synthesizer:
        return TableSynthesizer(**super()._synthesizer().get_params())


def checks() -> list[Any]:
    balancer, synthesizer = (
        TableBalancer("smote", device="cpu", random_state=0),
        TableSynthesizer("smote", device="cpu", random_state=0),
    )
    both = [*estimator_checks_generator(synthesizer), *estimator_checks_generator(balancer), *sampler_checks(balancer)]
    cases = []
    for at, (estimator, check) in enumerate(both):
        name = check.func.__name__
        reason = INAPPLICABLE.get(name)
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        label = f"{type(estimator).__name__}-{name}-{at}"
        cases.append(pytest.param(estimator, check, id=label, marks=marks))
    return cases


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_the_checks_of_scikit_learn_and_imbalanced_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def bars(counts: tuple[int, ...] = (12, 5), channels: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images uint8 (N,C,16,16) and labels of text."""
    images = shapes(counts, channels=channels)
    return images.images, np.array(["dog", "cat", "ape"])[images.labels]


class Pairs(Dataset[tuple[Any, int]]):
    """A data set as torchvision's."""

    def __init__(self, pairs: list[tuple[Any, int]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.pairs[index]


def test_images_come_back_in_the_layout_type_and_labels_of_the_input() -> None:
    planes, text = bars(channels=3)
    numbers = np.where(text == "dog", 7, -2)
    grey, last = planes[:, 0], planes.transpose(0, 2, 3, 1)
    for X, y, shape in (
        (grey, numbers, None),
        (last, text, None),
        (planes, text == "cat", None),
        (planes.astype(np.int64), numbers.astype(float), None),
        (grey.reshape(len(grey), -1), text.tolist(), (16, 16)),
        (last.reshape(len(grey), -1), text.astype(object), (16, 16, 3)),
        (torch.from_numpy(planes), torch.from_numpy(numbers), None),
    ):
        rare = np.asarray(y).tolist()[-1]
        synthesizer = Synthesizer("smote", image_shape=shape, random_state=0).fit(X, y)
        images, labels = synthesizer.sample({rare: 4})
        assert type(images) is type(X) and images.dtype == X.dtype
        assert images.shape == (4, *X.shape[1:])
        assert labels.tolist() == [rare] * 4
        if not isinstance(y, list):
            assert labels.dtype == y.dtype
        X_res, y_res = Balancer("smote", image_shape=shape, random_state=0).fit_resample(X, y)
        assert type(X_res) is type(X) and X_res.dtype == X.dtype and len(X_res) == 24
        assert (np.asarray(X_res[:17]) == np.asarray(X)).all()
        assert np.asarray(y_res)[17:].tolist() == [rare] * 7
        # An image of SMOTE lies between two of its class, pixel by pixel, in every layout.
        of_class = np.asarray(X)[np.asarray(y) == rare]
        drawn = np.asarray(images)
        assert (drawn >= of_class.min(0)).all() and (drawn <= of_class.max(0)).all()


def test_data_sets_and_folders_have_their_labels(tmp_path: Path, make_folder: Any) -> None:
    images = shapes((6, 4), channels=3)
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images.images]
    pairs = Pairs(list(zip(pictures, images.labels.tolist(), strict=True)))
    folder = make_folder(tmp_path / "pictures", images)
    for source, rare in ((pairs, 1), (images, 1), (folder, "c1"), (str(folder), "c1")):
        X_res, y_res = Balancer("smote", random_state=0).fit_resample(source)
        channels_first = source is images  # its items are tensors
        assert X_res.shape == ((12, 3, 16, 16) if channels_first else (12, 16, 16, 3))
        assert y_res.tolist()[10:] == [rare] * 2 and X_res.dtype == np.uint8
    rows = X_res[:10].transpose(0, 3, 1, 2)
    assert (rows == images.images).all()


def test_random_state_is_scikit_learns() -> None:
    X, y = bars()

    def drawn(random_state: Any) -> NDArray[Any]:
        images: NDArray[Any] = Synthesizer("smote", random_state=random_state).fit(X, y).sample(3)[0]
        return images

    assert (drawn(1) == drawn(1)).all() and (drawn(1) != drawn(2)).any()
    assert (drawn(np.random.RandomState(1)) == drawn(np.random.RandomState(1))).all()
    np.random.seed(0)
    first = drawn(None)
    assert (drawn(None) != first).any()
    np.random.seed(0)
    assert (drawn(None) == first).all()
    shared = np.random.RandomState(1)
    fitted = Synthesizer("smote", random_state=shared).fit(X, y)
    assert (fitted.sample(3)[0] != fitted.sample(3)[0]).any()
    assert (fitted.sample(3, random_state=4)[0] == fitted.sample(3, random_state=4)[0]).all()


def test_a_gan_is_trained_selected_and_goes_through_a_file() -> None:
    X, y = bars((12, 6, 6))
    options = {"width": 4, "latent": 8, "batch": 8, "ticks": 1}
    synthesizer = Synthesizer("cgan", kimg=0.02, options=options, device="cpu", random_state=3)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    set_fill(True)
    assert synthesizer.fit(X[:, 0], y) is synthesizer
    # The process's settings are the user's.
    assert not torch.are_deterministic_algorithms_enabled()
    assert set_fill(False)
    torch.use_deterministic_algorithms(before, warn_only=True)
    assert synthesizer.classes_.tolist() == ["ape", "cat", "dog"]
    images, labels = synthesizer.sample({"dog": 2, "ape": 1})
    assert images.shape == (3, 16, 16) and labels.tolist() == ["ape", "dog", "dog"]
    again, _ = pickle.loads(pickle.dumps(synthesizer)).sample({"dog": 2, "ape": 1})
    assert (again == images).all()
    assert [len(part) for part in synthesizer.sample(0)] == [0, 0]


def test_sampling_strategy_is_imbalanced_learns() -> None:
    X, y = bars((9, 5, 3))
    for strategy, dogs, cats, apes in (
        ("minority", 9, 5, 9),
        ("not majority", 9, 9, 9),
        ({"cat": 7}, 9, 7, 3),
        (lambda y: {"ape": 4}, 9, 5, 4),
    ):
        balancer = Balancer("smote", sampling_strategy=strategy, random_state=0)
        counts = Counter(balancer.fit_resample(X, y)[1].tolist())
        assert (counts["dog"], counts["cat"], counts["ape"]) == (dogs, cats, apes)
    even = Balancer("smote").fit_resample(X[6:14], y[6:14])  # three dogs, five cats
    assert len(even[0]) == 10
    untrained = Balancer("no such family", sampling_strategy={"cat": 5})
    assert len(untrained.fit_resample(X, y)[0]) == 17 and not hasattr(untrained, "synthesizer_")


def test_a_grid_search_over_a_pipeline_resamples_only_training_images() -> None:
    X, y = bars((24, 9))
    flatten = FunctionTransformer(lambda images: images.reshape(len(images), -1) / 255)
    steps = [("balance", Balancer(random_state=0)), ("flatten", flatten)]
    model = Pipeline([*steps, ("classify", LogisticRegression(max_iter=500))])
    grid = {"balance__family": ["smote"], "balance__options": [None, {"neighbours": 1}]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.9 and len(search.cv_results_["params"]) == 2
    assert search.best_estimator_["classify"].n_features_in_ == 256
    assert len(search.predict(X)) == 33


def test_a_mistake_is_one_line_that_names_the_value() -> None:
    X, y = bars(channels=3)
    fitted = Synthesizer("smote").fit(X, y)
    fit = Synthesizer("cgan").fit
    mixed = Pairs([(X[0], 0), (X[1][:, :8], 0)])
    for call, message in (
        (partial(fit, X / 255, y), r"type float64: give uint8 in 0 to 255, such as \(255 \* X\)"),
        (partial(fit, X.astype(int) * 2, y), "values from 0 to 508: give uint8"),
        (partial(fit, X[:, :, :12], y), "are 12 x 16 pixels, .* square"),
        (partial(fit, X[:, :2], y), r"\(17, 2, 16, 16\): give .* with 1 or 3 channels"),
        (partial(fit, X[:, :, :9, :9], y), "size 9"),
        (partial(fit, X.reshape(17, -1), y), r"\(17, 768\): .*set image_shape"),
        (partial(fit, X[:13], y[:13]), "class 'cat' has 1 image; a generator needs at least 2"),
        (partial(fit, X), "requires y to be passed"),
        (partial(fit, X, y[:9]), "inconsistent numbers of samples"),
        (partial(fit, "nowhere"), "nowhere"),
        (partial(fit, ImageSet.__new__(ImageSet), y), "y must be None, because the data set has"),
        (partial(fit, mixed), r"image 1 of the data set has the shape \(3, 8, 16\)"),
        (partial(fit, X, y, validation=(X, np.full(17, "owl"))), "unknown class .* 'owl'; .* cat, dog"),
        (partial(fit, X, y, validation=(X, y)), "17 images of val are also in train"),
        (partial(fitted.sample, {"owl": 2}), "unknown class 'owl'; choose from cat, dog"),
        (partial(fitted.sample, {"cat": -2}), "counts must be whole numbers .*; got -2"),
        (partial(fitted.sample, 2.5), "counts must be whole numbers .*; got 2.5"),
        (partial(Synthesizer("gan").fit, X, y), "unknown generator 'gan' .*'cgan'"),
        (partial(Synthesizer("smote", kimg=1).fit, X, y), r"kimg: .*\(got 1\)"),
        (partial(Synthesizer(options={"widht": 1}).fit, X, y), "'widht' .*'width'"),
        (partial(Synthesizer(image_shape=(8, 8)).fit, X, y), r"image_shape is \(8, 8\), but"),
        (partial(Synthesizer(random_state=-1).fit, X, y), "random_state must be 0 or more; got -1"),
        (partial(Balancer(sampling_strategy={"owl": 9}).fit_resample, X, y), "owl"),
        (partial(Balancer(sampling_strategy={"dog": 3}).fit_resample, X, y), "dog|Originally"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)
    with pytest.raises(NotFittedError):
        Synthesizer().sample(1)
    assert issubclass(UserError, ValueError)
