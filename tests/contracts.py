"""What every generator family, source and metric must hold; run over all of them by test_contracts.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.registry import load_kind
from augpipe.generators import families
from augpipe.generators.latents import LatentGenerator
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Generator, Problem

# The smallest settings at which a family still does all it does.
TINY: dict[str, dict[str, Any]] = {
    "acgan": {"width": 0.06, "latent": 8, "batch": 8, "kimg": 0.1},
    "bagan": {"width": 0.06, "latent": 8, "batch": 8, "kimg": 0.1, "autoencoder": 0.08},
    "cgan": {"width": 4, "latent": 8, "batch": 8, "kimg": 0.1},
    "cvae": {"width": 2, "latent": 8, "batch": 8, "kimg": 0.1},
    "dagan": {"width": 0.06, "latent": 8, "batch": 8, "kimg": 0.1, "inner": 1, "critic_inner": 1, "critic_steps": 2},
    "dcgan": {"width": 4, "latent": 8, "batch": 8, "kimg": 0.1},
    "deepsmote": {"width": 4, "latent": 8, "batch": 8, "kimg": 0.1},
    "deform": {"width": 2, "latent": 4, "pairs": 8, "batch": 8, "kimg": 0.1},
    "diffusion": {"width": 4, "batch": 8, "kimg": 0.1, "sampling_steps": 2, "warm_up_kimg": 0.02},
    "pixelcnn": {"width": 4, "layers": 2, "components": 2, "batch": 8, "kimg": 0.1},
    "progan": {"width": 4, "latent": 8, "batch": 8, "kimg": 0.05},
    "stylegan": {"width": 1, "latent": 8, "batch": 8, "kimg": 0.1},
}
# What else a family can be, by its own options; the contracts hold for these too.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "acgan, all options": (
        "acgan",
        {"loss": "hinge", "spectral": True, "conditional_norm": True, "class_loss": "d2d", "embedding": 16, "r1": 0.01},
    ),
    "acgan, ADA": ("acgan", {"ada": {"kimg": 0.05}, "augment": ["rotation", "scale", "brightness", "saturation"]}),
    "bagan, gradient penalty": ("bagan", {"gradient_penalty": True, "critic_steps": 2}),
    "bagan, label embedding": ("bagan", {"label_embedding": True, "generator_loss": "realness", "stddev": True}),
    "bagan, rebalancing": ("bagan", {"labels": "rebalance"}),
    "cgan, projection": ("cgan", {"head": "projection", "spectral": True}),
    "cgan, techniques": (
        "cgan",
        {
            "orthogonal": True,
            "latent_skips": True,
            "feature_matching": 0.1,
            "minibatch_discrimination": 4,
            "historical_averaging": 0.1,
            "label_flips": 0.2,
            "lecam": 0.1,
            "apa": {"kimg": 0.05},
            "replay": 12,
            "rotation": 1.0,
        },
    ),
    "cgan, pairs": (
        "cgan",
        {
            "head": "projection",
            "loss": "relativistic_pairing",
            "r2": 0.01,
            "r1_every": 2,
            "infogan": {"categories": 3, "continuous": 1},
            "encoder": True,
        },
    ),
    "dcgan, techniques": (
        "dcgan",
        {
            "loss": "least_squares",
            "label_noise": 0.2,
            "virtual_batch_norm": 6,
            "latent_skips": True,
            "minibatch_discrimination": 4,
            "replay": 12,
        },
    ),
    "dcgan, per class": ("dcgan", {"per_class": True}),
    "cgan, ADA": ("cgan", {"ada": {"kimg": 0.05}}),
    "progan, per class": ("progan", {"per_class": True}),
    "dagan, logistic": (
        "dagan",
        {
            "loss": "logistic",
            "critic_steps": 1,
            "r1_every": 2,
            "mismatched": 0.5,
            "ada": {"kimg": 0.05},
            "augment": ["translation"],
        },
    ),
    "cvae, prior": ("cvae", {"draw": "prior", "denoise": 0.2, "free_bits": 0.1}),
    "cvae, VAE-GAN": ("cvae", {"adversarial": True, "r1_every": 2, "ada": {"kimg": 0.05}}),
    "stylegan, all options": (
        "stylegan",
        {"style_mixing": 0.9, "path_length": 2.0, "path_length_every": 2, "r1_every": 2, "ada": {"kimg": 0.05}},
    ),
    "cvae, between": ("cvae", {"draw": "between"}),
    "diffusion, all options": ("diffusion", {"guidance": 2.0, "class_balancing": 1.0}),
    "deform, per class": ("deform", {"per_class": True}),
    "deepsmote, per class": ("deepsmote", {"per_class": True}),
    "deepsmote, codes handed round": ("deepsmote", {"permuted": "codes"}),
    "smote, borderline": ("smote", {"method": "borderline"}),
    "smote, adasyn": ("smote", {"method": "adasyn"}),
    "cgan, classes together": ("cgan", {"together": 4}),
    "dagan, per class": ("dagan", {"per_class": True}),
}


@contextmanager
def few_images_for_statistics() -> Iterator[None]:
    """Batch norms' statistics before each draw are of 1,024 images by default, most of the time of a tiny training."""
    before, LatentGenerator.recalibration = LatentGenerator.recalibration, (2, 8)
    try:
        yield
    finally:
        LatentGenerator.recalibration = before


def tiny(name: str, **more: Any) -> GeneratorConfig:
    """The smallest config of a family, or of one of the VARIANTS."""
    family, options = VARIANTS.get(name, (name, {}))
    config: GeneratorConfig = load_kind("augpipe.generators.models", family, "generator").Config(
        kind=family, **{**TINY.get(family, {}), **options, **more}
    )
    return config


def fresh(family: str, train: ImageSet, here: Runtime, seed: int = 0, **options: Any) -> Generator:
    """A generator with the smallest config, prepared for `train`."""
    generator = families.build(tiny(family, **options), Problem(train.spec, train.classes), here, seed)
    generator.prepare(train)
    return generator


def steps(generator: Generator, train: ImageSet, n: int, seed: int = 0, *, batch: int = 8) -> list[dict[str, float]]:
    """n updates on seeded batches; their losses."""
    rng = torch.Generator().manual_seed(seed)
    images, labels = train.tensors()
    told = []
    for _ in range(n):
        at = torch.randint(0, len(labels), (batch,), generator=rng)
        told.append({k: float(v) for k, v in generator.step(images[at], labels[at]).items()})
    return told


def draw(generator: Generator, labels: list[int], seed: int = 0) -> torch.Tensor:
    asked = torch.tensor(labels, dtype=torch.int64)
    return generator.sample(asked, torch.Generator().manual_seed(seed))
