"""Loss functions. All take logits, never probabilities."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from augpipe.core import distributed as parallel

# Probability of "real" that the critic is trained to: one for all images, or (N,).
Target = float | torch.Tensor


def discriminator_bce(
    real: torch.Tensor, fake: torch.Tensor, real_target: Target = 1.0, fake_target: Target = 0.0
) -> torch.Tensor:
    """Logits (N,), (M,) → -E[log D(x)] - E[log(1 - D(G(z)))] (Goodfellow et al. 2014, eq. 1).

    real_target below 1 is one-sided label smoothing (Salimans et al. 2016, 3.4).
    """
    as_real, as_fake = torch.zeros_like(real) + real_target, torch.zeros_like(fake) + fake_target
    return F.binary_cross_entropy_with_logits(real, as_real) + F.binary_cross_entropy_with_logits(fake, as_fake)


def generator_bce(fake: torch.Tensor) -> torch.Tensor:
    """Logits (N,) → -E[log D(G(z))], the non-saturating loss (Goodfellow et al. 2014, section 3)."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def discriminator_hinge(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Logits (N,), (M,) → E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Lim & Ye 2017, eq. 10)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def critic_wasserstein(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Scores (N,), (M,) → E[D(G(z))] - E[D(x)] (Arjovsky et al. 2017, eq. 2), to be minimised."""
    return fake.mean() - real.mean()


def generator_score(fake: torch.Tensor) -> torch.Tensor:
    """Scores (N,) → -E[D(G(z))]: the generator's loss with a hinge or Wasserstein critic."""
    return -fake.mean()


def drift(real: torch.Tensor) -> torch.Tensor:
    """Scores (N,) → E[D(x)²]: keeps a Wasserstein critic's scores near zero (Karras et al. 2018, appendix A.1)."""
    return real.square().mean()


def classification(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Logits (N,K), labels (N,) → cross-entropy; weights (K,) make it a weighted mean."""
    return F.cross_entropy(logits, labels, weight=weights)


def class_or_fake(real: torch.Tensor, labels: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N,K+1), labels (N,), logits (M,K+1) → cross-entropy of reals to their class, of fakes to K.

    One softmax over the classes and FAKE (Mariani et al. 2018, 3.2), so that "rare" and "fake" never
    contradict each other. The generator's loss is `classification` with the requested class.
    """
    k = real.shape[1] - 1
    as_fake = torch.full((len(fake),), k, dtype=torch.int64, device=fake.device)
    return F.cross_entropy(real, labels), F.cross_entropy(fake, as_fake)


def realness(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logits (N,K+1), labels (N,) → logit of the class minus logit of FAKE, (N,): the score of a softmax critic."""
    return logits.gather(1, labels[:, None]).squeeze(1) - logits[:, -1]


def data_to_data(
    embedding: torch.Tensor,
    proxies: torch.Tensor,
    labels: torch.Tensor,
    *,
    margin: float = 0.98,
    temperature: float = 0.5,
) -> torch.Tensor:
    """Data-to-data cross-entropy of normalised embeddings (N,E), proxies (K,E) and labels (N,).

    ReACGAN (Kang et al. 2021, eq. 7): each image against its class's proxy (positive) and against all images
    of other classes (negatives). The cosine similarity s counts as min(0, s - margin) / temperature for the
    positive and max(0, s - (1 - margin)) / temperature for a negative, which ignores easy pairs.
    """
    h, proxies = F.normalize(embedding, dim=1), F.normalize(proxies, dim=1)
    to_proxy = (h * proxies[labels]).sum(1)
    positive = (to_proxy - margin).clamp(max=0) / temperature
    negative = (h @ h.T - (1 - margin)).clamp(min=0) / temperature
    negative = negative.masked_fill(labels[:, None] == labels[None, :], float("-inf"))
    pairs = torch.cat([positive[:, None], negative], 1)
    return (pairs.logsumexp(1) - positive).mean()


def feature_matching(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Features (N,F), (M,F) → ||E f(x) - E f(G(z))||² (Salimans et al. 2016, 3.1), over the global batch."""
    return (parallel.gather(real).mean(0) - parallel.gather(fake).mean(0)).square().sum()


def lecam(real: torch.Tensor, fake: torch.Tensor, mean_real: torch.Tensor, mean_fake: torch.Tensor) -> torch.Tensor:
    """Scores (N,), (M,) → E[(D(x) - mean_fake)²] + E[(D(G(z)) - mean_real)²] (LeCam, Tseng et al. 2021).

    mean_real, mean_fake: running means of the scores of both sides. It draws each side towards the other.
    """
    return (real - mean_fake).square().mean() + (fake - mean_real).square().mean()
