"""Balancer: a class-conditional generator as an over-sampler of imbalanced-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_target_type
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import validate_data

from augpipe.core.options import Device
from augpipe.estimators.inputs import to_arrays, to_tensors
from augpipe.estimators.synthesizer import Synthesizer


class Balancer(BaseOverSampler):  # type: ignore[misc]  # imbalanced-learn has no types
    """Fill up classes with images of a class-conditional generator, which is trained on the same images.

    Parameters
    ----------
    family : str, default="cgan"
        A family of generators: `augpipe list families` prints all.
    sampling_strategy : str, dict, float or callable, default="auto"
        As in imbalanced-learn: "minority", "not minority", "not majority" (= "auto") or "all" fill these classes up to
        the largest one; a dict has the number of images of each label *after* resampling, real ones included.
    kimg, options, image_shape, device, random_state
        As of `Synthesizer`.

    Attributes
    ----------
    sampling_strategy_ : dict
        Label value → number of synthetic images.
    synthesizer_ : Synthesizer
        The fitted generator; missing if no class needed an image.
    n_features_in_ : int
        Values of one image, C·H·W.

    Notes
    -----
    In imbalanced-learn's `Pipeline` the training images alone are resampled, so each fold of `GridSearchCV` trains its
    own generator. No checks reject synthetic images here; a run and `compare` do that.

    Examples
    --------
    X_res, y_res = Balancer("deepsmote", sampling_strategy="not majority").fit_resample(X, y)
    """

    def __init__(
        self,
        family: str = "cgan",
        *,
        sampling_strategy: Any = "auto",
        kimg: float | None = None,
        options: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        device: Device = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.family = family
        self.kimg = kimg
        self.options = options
        self.image_shape = image_shape
        self.device = device
        self.random_state = random_state

    def fit_resample(self, X: Any, y: Any = None, **params: Any) -> tuple[Any, Any]:
        """Train the generator, and append its images.

        Parameters
        ----------
        X : array, tensor, torch Dataset or path
            As in `Synthesizer.fit`.
        y : array of shape (N,) or None
            Labels, numbers or text; None for a data set or a path.

        Returns
        -------
        X_res : array or tensor of shape (N + n, ...)
            The images of X, unchanged and in their order, then the synthetic ones class by class.
        y_res : array or tensor of shape (N + n,)
            Their labels.

        Raises
        ------
        UserError
            A ValueError, as in `Synthesizer.fit`.
        """
        arrays = to_arrays(X, y)
        images, labels = super().fit_resample(arrays.images, arrays.labels, **params)
        return to_tensors(images, labels) if arrays.tensors else (images, labels)

    def _check_X_y(self, X: Any, y: Any) -> tuple[Any, Any, bool]:
        y, one_vs_all = check_target_type(y, indicate_one_vs_all=True)
        X, y = validate_data(self, X, y, allow_nd=True)
        self.n_features_in_ = int(np.prod(X.shape[1:]))
        return X, y, one_vs_all

    def _fit_resample(self, X: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        counts = {value: n for value, n in self.sampling_strategy_.items() if n}
        if not counts:
            return X.copy(), y.copy()
        self.synthesizer_ = self._synthesizer().fit(X, y)
        images, labels = self.synthesizer_.sample(counts)
        return np.concatenate([X, images.astype(X.dtype)]), np.concatenate([y, labels])

    def _synthesizer(self) -> Synthesizer:
        """A generator with the same parameters."""
        names = Synthesizer().get_params()
        return Synthesizer(**{k: v for k, v in clone(self).get_params().items() if k in names})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = True
        return tags
