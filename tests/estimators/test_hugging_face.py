"""Hugging Face's data sets of images and class labels."""

from __future__ import annotations

import pytest
from PIL import Image
from shapes import shapes

from augpipe import Balancer, UserError


def test_hugging_faces_data_sets_have_class_names() -> None:
    datasets = pytest.importorskip("datasets")
    images = shapes((6, 4), channels=1)
    pictures = [Image.fromarray(image[0]) for image in images.images]
    features = datasets.Features({"scan": datasets.Image(), "kind": datasets.ClassLabel(names=["ill", "well"])})
    source = datasets.Dataset.from_dict({"scan": pictures, "kind": images.labels.tolist()}, features=features)
    X_res, y_res = Balancer("smote", random_state=0).fit_resample(source)
    assert X_res.shape == (12, 16, 16) and (X_res[:10] == images.images[:, 0]).all()
    assert y_res.tolist() == ["ill"] * 6 + ["well"] * 6
    mistakes = {
        "has the splits train: give one of them": datasets.DatasetDict(train=source),
        "is a stream": source.to_iterable_dataset(),
        "has 0 columns of the feature ClassLabel; one is needed, of scan, note": source.remove_columns(
            "kind"
        ).add_column("note", list("abcdefghij")),
    }
    for message, wrong in mistakes.items():
        with pytest.raises(UserError, match=message):
            Balancer("smote").fit_resample(wrong)
