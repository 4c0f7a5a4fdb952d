from __future__ import annotations

import json
from itertools import pairwise

import albumentations as A
import cv2
import pytest
import torch
import yaml

from augpipe.classifiers.options import Mix
from augpipe.classifiers.transforms import check_images, policies, transform
from augpipe.core.errors import UserError


def bars(n: int = 6, channels: int = 1) -> torch.Tensor:
    x = torch.zeros(n, channels, 16, 16, dtype=torch.uint8)
    x[:, :, 5:11, 7:9] = 255
    return x


@pytest.mark.parametrize("policy", list(policies))
@pytest.mark.parametrize("channels", [1, 3])
def test_same_seed_same_changes_shape_and_type_kept(policy: str, channels: int) -> None:
    x = bars(12, channels)
    found = []
    for seed, global_seed in ((1, 1), (1, 2), (2, 1)):
        torch.manual_seed(global_seed)
        found.append(transform(policy, seed)(x))
    first, again, other = found
    assert first.shape == x.shape and first.dtype == torch.uint8
    assert torch.equal(first, again) and not torch.equal(first, other)
    # Each image by its own draw: a batch that is changed as a whole is one augmentation, not twelve.
    assert any(not torch.equal(a, b) for a, b in pairwise(first))


@pytest.mark.parametrize("policy", list(policies))
def test_one_batch_after_another_is_changed_anew_and_no_global_draw_is_lost(policy: str) -> None:
    change, x = transform(policy, 0), bars(12)
    torch.manual_seed(5)
    assert not torch.equal(change(x), change(x))
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize("policy", ["light", "elastic", "medical", "randaugment", "trivialaugment", "augmix"])
def test_nothing_but_faces_is_mirrored(policy: str) -> None:
    # A picture that is bright at the left stays so on average; a flip in half of all cases would even it out.
    x = torch.zeros(400, 1, 32, 32, dtype=torch.uint8)
    x[..., 4:12] = 200
    y = transform(policy, 0)(x).float()
    left, right = y[..., :16].mean(), y[..., 16:].mean()
    assert float(left - right) > 60
    faces = transform("faces", 0)(x).float()
    assert abs(float(faces[..., :16].mean() - faces[..., 16:].mean())) < 15


PIPELINE = A.Compose([A.Affine(rotate=(-30, 30), p=1.0), A.HorizontalFlip(p=0.5)])


@pytest.mark.parametrize("suffix", ["json", "yaml", "YAML"])
def test_a_serialised_pipeline_from_a_file_is_held_whole(suffix: str, tmp_path) -> None:
    path = tmp_path / f"own.{suffix}"
    A.save(PIPELINE, path, data_format=suffix.lower())
    mix = Mix(transform=str(path))
    path.unlink()
    # As an experiment's YAML gives it back.
    again = Mix.model_validate(yaml.safe_load(yaml.safe_dump(mix.model_dump(mode="json"))))
    assert again == mix
    x = bars(20)
    found = transform(again.transform, 3)(x)
    assert torch.equal(found, transform(json.loads(json.dumps(A.to_dict(PIPELINE))), 3)(x))
    assert not torch.equal(found, x)


def test_json_with_tabs_is_read(tmp_path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(A.to_dict(PIPELINE), indent="\t"))
    assert Mix(transform=str(path)).transform == json.loads(path.read_text())


EXPANDS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("deep.yaml", "[" * 20_000, "is nested too deeply"),
        ("deep.json", "[" * 200_000, "is nested too deeply"),
        ("long.yml", EXPANDS, "at most 100,000 are read"),
        ("twice.yaml", "p: 0.5\np: 1.0", "duplicate key 'p' (line 2)"),
        ("twice.json", '{"p": 0.5, "p": 1.0}', "duplicate key 'p'"),
        ("date.yaml", "transform: {__class_fullname__: Affine, p: 2024-13-45}", "not an albumentations"),
        ("not.json", "{'p': 1}", "is not JSON: Expecting property name"),
        ("empty.yaml", "", "got None"),
        ("itself.yaml", "itself.yaml", "unknown transform 'itself.yaml'"),
    ],
)
def test_a_file_that_is_no_transform_is_named(name: str, text: str, message: str, tmp_path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match="the transform ") as refused:
        Mix(transform=str(path))
    assert message in str(refused.value) and name in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lihgt", "unknown transform 'lihgt' (did you mean 'light'?)"),
        ("gone.yaml", "cannot read the transform gone.yaml"),
        (3, "a transform must be a name, a file or a mapping; got 3"),
        (
            {"transform": {"__class_fullname__": "os.system", "p": 1}},
            "not an albumentations pipeline: KeyError: 'os.system'",
        ),
        ({"transform": {"__class_fullname__": "Affine", "p": 1, "rotat": 3}}, "not an albumentations pipeline"),
        ({"transforms": []}, "not an albumentations pipeline: KeyError"),
    ],
)
def test_what_is_no_transform_is_refused_in_a_line(given, message) -> None:
    with pytest.raises(ValueError, match="transform") as refused:
        Mix(transform=given)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("pipeline", "size", "message"),
    [
        ([A.Normalize()], 32, "the transform turns an image uint8 (32, 32, 3) into float32 (32, 32, 3)"),
        ([A.CenterCrop(20, 20)], 32, "it must keep size, channels and type"),
        ([A.RandomCrop(48, 48), A.Resize(64, 64)], 32, "the transform fails on an image of (32, 32, 3)"),
        ([A.RandomCrop(48, 48), A.Resize(64, 64)], 64, ""),
        ([A.RandomResizedCrop((32, 32))], 64, "into uint8 (32, 32, 3)"),
        ([A.RandomResizedCrop((32, 32))], 32, ""),
        ([A.CenterCrop(20, 20, p=0.3)], 32, "it must keep size"),  # not of every image
    ],
)
def test_a_pipeline_is_tried_on_images_of_the_runs_size(pipeline, size: int, message: str) -> None:
    serialised = A.to_dict(A.Compose(pipeline))
    Mix(transform=serialised)  # of which the size is not known yet
    if not message:
        check_images(serialised, 3, size)
        return
    with pytest.raises(UserError, match="the transform") as refused:
        check_images(serialised, 3, size)
    assert message in str(refused.value)


@pytest.mark.filterwarnings("ignore")  # albumentations' own, of this test's calls
@pytest.mark.parametrize(
    "one", [A.ShiftScaleRotate, lambda: A.PadIfNeeded(32, 32), A.RGBShift, A.SafeRotate, A.GaussNoise]
)
def test_pipelines_of_which_albumentations_warns_are_taken(one) -> None:
    """It takes them back itself; an unknown argument, of which it also only warns, is refused above."""
    serialised = A.to_dict(A.Compose([one()]))
    mix = Mix(transform=yaml.safe_load(yaml.safe_dump(serialised)))
    check_images(mix.transform, 3, 32)


def test_a_single_serialised_change_is_a_pipeline() -> None:
    flip = A.to_dict(A.HorizontalFlip(p=1.0))
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(transform(flip, 0)(x), x.flip(3))


def test_a_pipeline_for_colour_says_so_of_grey_images() -> None:
    colour = A.to_dict(A.Compose([A.ToGray(num_output_channels=1, p=1.0)]))
    with pytest.raises(ValueError, match="it must keep size, channels and type"):
        transform(colour, 0)(bars(2, 3))


def test_no_threads_over_one_small_image() -> None:
    """Of so many as cores in each of several workers, most wait: the machine stands still."""
    cv2.setNumThreads(4)
    transform(A.to_dict(PIPELINE), 0)
    assert cv2.getNumThreads() == 1
