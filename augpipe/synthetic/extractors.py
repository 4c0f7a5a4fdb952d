"""Feature extractors with published weights: torchvision models, and Inception.

`core.weights` says where weights are fetched from and stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augpipe.core.device import Runtime
from augpipe.core.errors import UserError
from augpipe.core.home import weights_folder
from augpipe.core.images import ImageSet
from augpipe.core.weights import fetching, reading, torchvision_state
from augpipe.synthetic.embeddings import Extractor
from augpipe.synthetic.options import INCEPTION, TORCHVISION

AT_ONCE: Final = 64
DOMAIN: Final = "features: domain"  # the alternative that needs no weights
INCEPTION_WEIGHTS: Final = "weights-inception-2015-12-05-6726825d.pth"


class Frozen:
    """A network in eval mode over batches of colour images; `ready` turns uint8 (N,3,H,W) into its input."""

    def __init__(
        self, net: nn.Module, ready: Callable[[torch.Tensor], torch.Tensor], runtime: Runtime, name: str
    ) -> None:
        self._net, self._ready, self._runtime = runtime.place(net).eval(), ready, runtime
        digest = hashlib.sha256(name.encode())
        for value in net.state_dict().values():
            digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        self.digest = f"{name} {digest.hexdigest()}"

    @torch.no_grad()
    def vectors(self, images: ImageSet) -> NDArray[np.float32]:
        """Features float32 (N,F); grey images are repeated over three channels."""
        parts = []
        for start in range(0, len(images), AT_ONCE):
            chunk = torch.from_numpy(np.array(images.images[start : start + AT_ONCE]))
            batch = chunk.to(self._runtime.device)
            if batch.shape[1] == 1:
                batch = batch.expand(-1, 3, -1, -1)
            features = self._net(self._ready(batch))
            features = features[0] if isinstance(features, tuple) else features
            parts.append(features.float().flatten(1).cpu())
        out: NDArray[np.float32] = torch.cat(parts).numpy()
        return out


def extractor(name: str, runtime: Runtime) -> Extractor | None:
    """The network of that name, None for `domain`; UserError if its weights are not available."""
    if name == "domain":
        return None
    return _inception(runtime) if name == INCEPTION else _torchvision(name, runtime)


def _torchvision(name: str, runtime: Runtime) -> Extractor:
    """The model without its last layer, with the preprocessing of its weights."""
    from torchvision.models import get_model, get_model_weights

    model = name.removeprefix(TORCHVISION)
    weights = get_model_weights(model).DEFAULT
    torchvision_state(model, DOMAIN)  # fetched, and read in a way that cannot run code
    path = weights_folder() / Path(weights.url).name
    with fetching(f"torchvision's {model}", path.name, DOMAIN), reading(path, model):
        # Not `load_state_dict`: old files use other names, and some models transform inputs if built with weights.
        net: nn.Module = get_model(model, weights=weights, progress=False)
    _without_head(net)
    return Frozen(net, weights.transforms(), runtime, name)


def _without_head(net: nn.Module) -> None:
    """Replace the last linear layer by the identity; the last convolution if there is no linear layer."""
    modules = list(net.named_modules())
    heads = [path for path, module in modules if isinstance(module, nn.Linear)] or [
        path for path, module in modules if isinstance(module, nn.Conv2d)
    ]
    parent, _, attribute = heads[-1].rpartition(".")
    setattr(net.get_submodule(parent), attribute, nn.Identity())


def _inception(runtime: Runtime) -> Extractor:
    """InceptionV3 as ported from the original FID code: values comparable to the literature (2048 features)."""
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as ported
    except ImportError:
        raise UserError("features: inception needs torch-fidelity: pip install 'augpipe[fidelity]'") from None
    path = weights_folder() / INCEPTION_WEIGHTS
    with fetching("Inception", INCEPTION_WEIGHTS, DOMAIN), reading(path, "Inception"):
        torch.hub.load_state_dict_from_url(
            ported.URL_INCEPTION_V3,
            file_name=INCEPTION_WEIGHTS,
            progress=False,
            check_hash=True,
            map_location="cpu",
            weights_only=True,
        )
        net = ported.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        )
    return Frozen(net, lambda batch: batch, runtime, INCEPTION)
