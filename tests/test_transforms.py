from __future__ import annotations

import json
from itertools import pairwise

import albumentations as A
import cv2
import pytest
import torch
import yaml

from augpipe.mixing import Mix
from augpipe.transforms import policies, transform


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


@pytest.mark.parametrize(
    "policy", ["light", "elastic", "medical", "randaugment", "trivialaugment", "augmix"]
)
def test_nothing_but_faces_is_mirrored(policy: str) -> None:
    # A picture that is bright at the left stays so on average; a flip in half of all cases would even it out.
    x = torch.zeros(400, 1, 32, 32, dtype=torch.uint8)
    x[..., 4:12] = 200
    y = transform(policy, 0)(x).float()
    left, right = y[..., :16].mean(), y[..., 16:].mean()
    assert float(left - right) > 60
    faces = transform("faces", 0)(x).float()
    assert abs(float(faces[..., :16].mean() - faces[..., 16:].mean())) < 15


def test_elastic_bends_a_picture_of_any_size_alike_and_more_than_light() -> None:
    """A grid of lines at 28 px and at 112: the share of pixels that change, which light changes fewer of."""
    lines = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    lines[..., 4::8] = lines[..., 4::8, :] = 255
    large = lines.repeat_interleave(4, 2).repeat_interleave(4, 3)

    def changed(policy: str, x: torch.Tensor) -> float:
        return float((transform(policy, 0)(x).float() - x.float()).abs().mean())

    # The draws differ with the size, so that the means do by some percent; a bend that did not grow with it would be a fourth.
    assert changed("elastic", large) == pytest.approx(changed("elastic", lines), rel=0.12)
    straight = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    straight[..., 12:16] = 255

    def bent(policy: str) -> float:
        """How far a bar's middle wanders from a straight line, in pixels, mean of all bars."""
        x = transform(policy, 0)(straight).float()[:, 0, 6:22]
        middle = (x * torch.arange(28.0)).sum(2) / x.sum(2).clamp(min=1)
        t = torch.arange(16.0)
        t = (t - t.mean()) / t.std(correction=0)
        rest = middle - middle.mean(1, keepdim=True)
        rest = rest - (rest * t).mean(1, keepdim=True) * t
        return float(rest.std(1).mean())

    assert bent("elastic") > 2 * bent("light")


PIPELINE = A.Compose([A.Affine(rotate=(-30, 30), p=1.0), A.HorizontalFlip(p=0.5)])


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_serialised_pipeline_from_a_file_is_held_whole(suffix: str, tmp_path) -> None:
    path = tmp_path / f"own.{suffix}"
    A.save(PIPELINE, path, data_format=suffix)
    mix = Mix(transform=str(path))
    path.unlink()
    # As an experiment's YAML gives it back.
    again = Mix.model_validate(yaml.safe_load(yaml.safe_dump(mix.model_dump(mode="json"))))
    assert again == mix
    x = bars(20)
    found = transform(again.transform, 3)(x)
    assert torch.equal(found, transform(json.loads(json.dumps(A.to_dict(PIPELINE))), 3)(x))
    assert not torch.equal(found, x)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lihgt", "unknown transform 'lihgt' (did you mean 'light'?)"),
        ("gone.yaml", "cannot read the transform gone.yaml"),
        (3, "a transform is a name, a file or a mapping; got 3"),
        ({"transform": {"__class_fullname__": "os.system", "p": 1}}, "no albumentations pipeline: KeyError: 'os.system'"),
        ({"transform": {"__class_fullname__": "Affine", "p": 1, "rotat": 3}}, "no albumentations pipeline"),
        ({"transforms": []}, "no albumentations pipeline: KeyError"),
        (A.to_dict(A.Compose([A.Normalize()])), "the transform makes float32 (32, 32, 3) of an image uint8 (32, 32, 3)"),
        (A.to_dict(A.Compose([A.CenterCrop(20, 20)])), "it must keep size, channels and type"),
        (A.to_dict(A.Compose([A.RandomCrop(64, 64)])), "the transform fails on an image of (32, 32, 3)"),
    ],
)  # fmt: skip
def test_what_is_no_transform_is_refused_in_a_line(given, said) -> None:
    with pytest.raises(ValueError, match="transform") as refused:
        Mix(transform=given)
    assert said in str(refused.value)


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
    transform("light", 0)
    assert cv2.getNumThreads() == 1
