"""Normalisation: pixel norm, batch norms (global, class-conditional, split), spectral norm, minibatch stddev."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from augpipe.core import distributed as parallel


def pixel_norm(x: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """(N,C,...) → the feature vector of each position, divided by its root mean square (Karras et al. 2018, 4.2)."""
    return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + eps).to(x.dtype)


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the mean and variance of the global batch, over all processes of the training."""

    def __init__(self, like: nn.BatchNorm2d) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine)
        self.load_state_dict(like.state_dict())
        self.alone = False  # True: every process sees the whole batch, use local statistics

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) of this process → the same shape."""
        if not self.training or self.alone or parallel.size() == 1:
            return super().forward(input)
        x = input.float()
        n = parallel.global_count(x.numel() // x.shape[1])
        mean = parallel.total(x.sum((0, 2, 3))) / n
        centred = x - mean[:, None, None]
        variance = parallel.total(centred.square().sum((0, 2, 3))) / n
        self._track(mean.detach(), variance.detach() * (n / max(1, n - 1)))
        out = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            out = torch.addcmul(self.bias[:, None, None], out, self.weight[:, None, None])
        return out.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Update the running statistics; with momentum None they are means over all batches."""
        seen = self.num_batches_tracked
        if self.running_mean is None or self.running_var is None or seen is None:
            return
        seen += 1
        weight = self.momentum if self.momentum is not None else 1 / float(seen)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


def norms_global(module: nn.Module) -> None:
    """Replace every batch norm in `module` by a GlobalBatchNorm2d."""
    replace_norms(module, GlobalBatchNorm2d)


def replace_norms(module: nn.Module, replace: Callable[[nn.BatchNorm2d], nn.Module]) -> None:
    """Replace every batch norm in `module` by `replace(norm)`, recursively."""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.BatchNorm2d):
            setattr(module, name, replace(part))
        else:
            replace_norms(part, replace)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a gain and bias per class (Dumoulin et al. 2017): x (N,C,H,W), labels (N,) → (N,C,H,W).

    latent: size of a vector (N,latent) that also adds to gain and bias, linearly; 0 for none. It is the part of the
    latent that a block of BigGAN sees (Brock et al. 2019, appendix B).
    """

    def __init__(self, features: int, classes: int, latent: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.gain = nn.Parameter(torch.empty(classes, features))
        self.shift = nn.Parameter(torch.empty(classes, features))
        self.skip = nn.Linear(latent, 2 * features, bias=False) if latent else None

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Gain 1 and shift 0 for every class; draws nothing."""
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.shift)

    def forward(self, x: torch.Tensor, labels: torch.Tensor, latent: torch.Tensor | None = None) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.norm(x)
        gain, shift = self.gain[labels].to(out.dtype), self.shift[labels].to(out.dtype)
        if self.skip is not None and latent is not None:
            more_gain, more_shift = self.skip(latent).to(out.dtype).chunk(2, 1)
            gain, shift = gain + more_gain, shift + more_shift
        return torch.addcmul(shift[:, :, None, None], out, gain[:, :, None, None])


def split_sizes(latent: int, parts: int) -> list[int]:
    """Sizes of the parts of a latent, which differ by at most 1; the larger ones come first."""
    return [latent // parts + (at < latent % parts) for at in range(parts)]


class _Spectral(nn.Module):
    """weight → weight / sigma; sigma: largest singular value of the (out, rest) matrix, by power iteration."""

    def __init__(self, weight: torch.Tensor, rng: torch.Generator, warm_up: int = 15) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        for name, n in (("u", len(matrix)), ("v", matrix.shape[1])):
            drawn = torch.randn(n, generator=rng).to(matrix.dtype)
            self.register_buffer(name, F.normalize(drawn, dim=0))
        self.u: torch.Tensor
        self.v: torch.Tensor
        self._iterate(matrix, warm_up)

    @torch.no_grad()
    def _iterate(self, matrix: torch.Tensor, n: int) -> None:
        for _ in range(n):
            self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
            self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """In training, iterate once more; the gradient flows through the weight in sigma, not through u and v."""
        matrix = weight.flatten(1)
        with torch.autocast(weight.device.type, enabled=False):
            if self.training:
                self._iterate(matrix.detach(), 1)
            # sigma = u^T W v. Copies: a second forward pass must not change what the first saved for backward.
            sigma = self.u.clone() @ matrix.mv(self.v.clone())
        return weight / sigma


def spectral_norm(module: nn.Module, rng: torch.Generator) -> None:
    """Divide every linear, convolution and embedding weight in `module` by its spectral norm (Miyato et al. 2018, 2.1).

    Call it after `initialise`: the power iteration starts from the current weights, its vectors from `rng`.
    """
    for part in list(module.modules()):
        if isinstance(part, nn.Conv2d | nn.Linear | nn.Embedding):
            parametrize.register_parametrization(part, "weight", _Spectral(part.weight, rng))


def minibatch_stddev(x: torch.Tensor, group: int = 4) -> torch.Tensor:
    """(N,C,H,W) → (N,C+1,H,W): append the spread of each image's group as a map (Karras et al. 2018, 3).

    The spread is the standard deviation over the group, averaged over features and positions. A group is
    `group` neighbours in the batch; left-over images use the last `group` images. Sort the batch by class:
    in a mixed group the difference between classes hides that one class is always the same image.
    """
    n = len(x)
    if parallel.size() > 1 and n % group:  # some groups span two processes
        return torch.cat([x, parallel.local_rows(minibatch_stddev_map(parallel.gather(x), group))], 1)
    return torch.cat([x, minibatch_stddev_map(x, group)], 1)


def minibatch_stddev_map(x: torch.Tensor, group: int) -> torch.Tensor:
    """The map that `minibatch_stddev` appends, (N,1,H,W)."""
    n, group = len(x), min(group, len(x))
    whole = n - n % group
    spread = _spread(x[:whole].float().reshape(-1, group, *x.shape[1:])).repeat_interleave(group)
    if whole < n:
        spread = torch.cat([spread, _spread(x[n - group :].float()[None]).expand(n - whole)])
    return spread[:, None, None, None].expand(n, 1, *x.shape[2:]).to(x.dtype)


def _spread(y: torch.Tensor) -> torch.Tensor:
    """(G,M,C,H,W) → mean standard deviation within each group (G,)."""
    # torch.var over a leading axis took a sixth of the step time of a small GAN.
    return ((y - y.mean(1, keepdim=True)).square().mean(1) + 1e-8).sqrt().mean((1, 2, 3))


class ApartBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with a second gain, bias and statistics, used while `apart` is True (Xie et al. 2020, section 4)."""

    def __init__(self, like: nn.BatchNorm2d) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine)
        self.load_state_dict(like.state_dict())
        self.other = nn.BatchNorm2d(like.num_features, like.eps, like.momentum, like.affine)
        self.other.load_state_dict(like.state_dict())
        self.apart = False

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.other(input) if self.apart else super().forward(input)
        return out


def norms_apart(module: nn.Module) -> None:
    """Give every batch norm in `module` a second one that starts as a copy of the first."""
    replace_norms(module, ApartBatchNorm2d)


@contextmanager
def apart(module: nn.Module) -> Iterator[None]:
    """Use the second norms inside the context."""
    norms = [part for part in module.modules() if isinstance(part, ApartBatchNorm2d)]
    for norm in norms:
        norm.apart = True
    try:
        yield
    finally:
        for norm in norms:
            norm.apart = False
