from __future__ import annotations

import torch

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.autoencoders import Decoder, Discriminator, Encoder

SPEC = ImageSpec(16, 1)


def discriminator(*, critic: bool) -> Discriminator:
    return Discriminator(SPEC, 3, width=0.06, dropout=0.0, stddev=False, critic=critic)


def test_the_decoder_gives_images_of_the_encoders_shape() -> None:
    for spec in (SPEC, ImageSpec(28, 3)):
        images, labels = torch.zeros(2, *spec.shape), torch.tensor([0, 2])
        latents = Encoder(spec, width=0.06, latent=8, dropout=0.0)(images)
        assert latents.shape == (2, 8)
        for classes in (None, 3):
            assert Decoder(spec, width=0.06, latent=8, classes=classes)(latents, labels).shape == images.shape


def test_one_softmax_over_the_classes_and_fake() -> None:
    x, labels = torch.zeros(5, 1, 16, 16), torch.zeros(5, dtype=torch.int64)
    for critic, shape in ((False, (5, 4)), (True, (5,))):
        assert discriminator(critic=critic)(x, labels).shape == shape


def test_a_critic_scores_by_projection() -> None:
    d = discriminator(critic=True)
    x, labels = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    assert d.embedding is not None
    h = d.trunk(x)
    similarity = (d.embedding.weight[labels] * h).sum(1) / h.shape[1] ** 0.5
    assert torch.allclose(d(x, labels), d.head(h).squeeze(1) + similarity, atol=1e-5)
