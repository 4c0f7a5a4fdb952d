"""Synthesizer: a class-conditional generator as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from augpipe import api
from augpipe.core.device import set_fill
from augpipe.core.errors import UserError, unknown
from augpipe.core.images import ImageSet
from augpipe.core.options import Device
from augpipe.estimators.inputs import Arrays, Layout, image_set, layout_of, seed_of, to_arrays, to_tensors

LEAST = 2  # images of a class: a generator cannot vary a single one


@contextmanager
def _deterministic() -> Iterator[None]:
    """Deterministic algorithms while the block runs; torch's settings for the process are the user's."""
    before = torch.are_deterministic_algorithms_enabled()
    fill = set_fill(False)
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        set_fill(fill)


class Synthesizer(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Train a class-conditional generator on images, and draw images of chosen classes.

    Parameters
    ----------
    family : str, default="cgan"
        A family of generators: `augpipe list families` prints all.
    kimg : float or None, default=None
        Training budget in thousands of real images shown; None: the family's default. Must be None for a family that
        is not trained, such as smote.
    options : mapping or None, default=None
        Further options of the family, as below `generators:` in a config: `{"width": 8}`.
    image_shape : tuple of int or None, default=None
        Shape of one image, (H,W), (H,W,C) or (C,H,W), where X is flattened, (N,F), as for scikit-learn's estimators.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Where to compute; auto: cuda if there is one, else mps, else cpu.
    random_state : int, RandomState or None, default=None
        Determines the weights, the batches and the images drawn. Pass an int for the same images in every call, with
        an equal number of threads (`torch.set_num_threads`).

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The label values, sorted.
    fitted_ : augpipe.Fitted
        The trained generator, its configuration, the selected checkpoint (`best_kimg`) and its training set.
    n_features_in_ : int
        Values of one image, C·H·W.

    Notes
    -----
    Images are square, 4, 5, 6 or 7 times a power of 2 wide for most families, with 1 or 3 channels. The sources of the
    families are in the reference of generator families.

    Examples
    --------
    synthesizer = Synthesizer("cgan", kimg=60, random_state=0).fit(X, y)
    images, labels = synthesizer.sample({3: 500})
    """

    classes_: NDArray[Any]
    fitted_: api.Fitted

    def __init__(
        self,
        family: str = "cgan",
        *,
        kimg: float | None = None,
        options: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        device: Device = "auto",
        random_state: Any = None,
    ) -> None:
        self.family = family
        self.kimg = kimg
        self.options = options
        self.image_shape = image_shape
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, validation: tuple[Any, Any] | None = None) -> Synthesizer:
        """Train the generator.

        Parameters
        ----------
        X : array, tensor, torch Dataset or path
            Images uint8 in 0 to 255 (other integers are accepted) of shape (N,H,W), (N,H,W,C) or (N,C,H,W), or
            flattened (N,F) with `image_shape`; or a data set of (image, label), such as torchvision's; or Hugging
            Face's `Dataset` with a column of images and one of class labels; or the path of a folder with a folder of
            pictures for each class.
        y : array of shape (N,) or None
            Labels, numbers or text; None for a data set or a path, which have labels.
        validation : tuple (X, y) or None, default=None
            Images that are not in X, to select the checkpoint with the lowest class-wise KID against them; None: the
            last checkpoint.

        Returns
        -------
        self : Synthesizer
            The fitted estimator.

        Raises
        ------
        UserError
            A ValueError: floats, another shape or size than the family draws, a class with a single image, unknown
            options.
        """
        arrays = to_arrays(X, y)
        self._tensors = arrays.tensors
        images, labels = self._validated(arrays)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self._check_counts(codes)
        self._layout, train = self._image_set(images, codes)
        val = None if validation is None else self._validation_set(*validation)
        options = {} if self.kimg is None else {"kimg": self.kimg}
        with _deterministic():
            self.fitted_ = api.fit(
                train,
                {"kind": self.family, **options, **(self.options or {})},
                val=val,
                seed=seed_of(self.random_state),
                runtime=(self.device, "auto"),
                threads=torch.get_num_threads(),
            )
        return self

    def sample(self, counts: int | Mapping[Any, int], *, random_state: Any = None) -> tuple[Any, Any]:
        """Draw images, class by class.

        Parameters
        ----------
        counts : int or mapping
            Images of every class, or of each label value: `{3: 500}`.
        random_state : int, RandomState or None, default=None
            None: that of the estimator, so that an int gives the same images in every call.

        Returns
        -------
        images : array or tensor of shape (n, ...)
            In the layout and type of the X of `fit`.
        labels : array or tensor of shape (n,)
            Values of `classes_`.

        Raises
        ------
        NotFittedError
            A ValueError: before `fit`.
        UserError
            A ValueError: a label that y did not have, a number below 0.
        """
        check_is_fitted(self)
        train = self.fitted_.train
        fill = {train.classes[code]: n for code, n in self._counts(counts).items() if n}
        drawn = train.take(np.arange(0))
        if fill:
            state = self.random_state if random_state is None else random_state
            with _deterministic():
                drawn = api.synthesize(self.fitted_, fill, seed=seed_of(state))
        images, labels = self._layout.from_planes(drawn.images), self.classes_[drawn.labels]
        return to_tensors(images, labels) if self._tensors else (images, labels)

    def _counts(self, counts: Any) -> dict[int, int]:
        """Class index → images."""
        known = {value: code for code, value in enumerate(self.classes_.tolist())}
        if not isinstance(counts, Mapping):
            counts = dict.fromkeys(known, counts)
        for value, n in counts.items():
            if value not in known:
                raise unknown("class", value, known)
            if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
                raise UserError(f"counts must be whole numbers of 0 or more; got {n!r}")
        return {known[value]: int(n) for value, n in counts.items()}

    def _validated(self, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
        """Images and labels, checked as by scikit-learn's estimators."""
        images, labels = validate_data(self, arrays.images, arrays.labels, allow_nd=True, ensure_min_samples=LEAST)
        check_classification_targets(labels)
        self.n_features_in_ = int(np.prod(images.shape[1:]))
        return images, labels

    def _image_set(self, images: NDArray[Any], codes: NDArray[Any]) -> tuple[Layout, ImageSet]:
        layout = layout_of(images, self.image_shape)
        _, height, width = layout.planes
        if height != width:
            raise UserError(
                f"the images are {height} x {width} pixels, and generators draw square ones: crop or pad them"
            )
        return layout, image_set(layout.to_planes(images), codes.astype(np.int64), self.classes_)

    def _check_counts(self, codes: NDArray[Any]) -> None:
        for value, n in zip(self.classes_.tolist(), np.bincount(codes).tolist(), strict=True):
            if n < LEAST:
                raise UserError(
                    f"class {value!r} has {n} image; a generator needs at least {LEAST} of a class: leave the class out"
                )

    def _validation_set(self, X: Any, y: Any) -> ImageSet:
        arrays = to_arrays(X, y)
        labels = np.asarray(arrays.labels)
        known = {value: code for code, value in enumerate(self.classes_.tolist())}
        for value in labels.tolist():
            if value not in known:
                raise unknown("class of the validation images", value, known)
        codes = np.array([known[value] for value in labels.tolist()], np.int64)
        return self._image_set(np.asarray(arrays.images), codes)[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags
