"""Embeddings by networks that learned elsewhere: torchvision's with their published weights, and Inception.

Where weights come from and are kept: `weights`.
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
from augpipe.core.images import ImageSet
from augpipe.core.weights import fetching, reading, torchvision_state, weights_folder
from augpipe.synthetic.embeddings import Extractor
from augpipe.synthetic.options import INCEPTION, TORCHVISION

AT_ONCE: Final = 64
DOMAIN: Final = "features: domain"  # what needs no weights
INCEPTION_WEIGHTS: Final = "weights-inception-2015-12-05-6726825d.pth"


class Frozen:
    """A network in eval mode over batches of colour images; `ready` makes its input of uint8 (N,3,H,W)."""

    def __init__(
        self,
        net: nn.Module,
        ready: Callable[[torch.Tensor], torch.Tensor],
        runtime: Runtime,
        name: str,
    ) -> None:
        self._net, self._ready, self._runtime = runtime.place(net).eval(), ready, runtime
        whole = hashlib.sha256(name.encode())
        for value in net.state_dict().values():
            whole.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        self.digest = f"{name} {whole.hexdigest()}"

    @torch.no_grad()
    def vectors(self, images: ImageSet) -> NDArray[np.float32]:
        """float32 (N,F); grey images are shown as three equal channels."""
        parts = []
        for start in range(0, len(images), AT_ONCE):
            part = torch.from_numpy(np.array(images.images[start : start + AT_ONCE]))
            batch = part.to(self._runtime.device)
            if batch.shape[1] == 1:
                batch = batch.expand(-1, 3, -1, -1)
            found = self._net(self._ready(batch))
            found = found[0] if isinstance(found, tuple) else found
            parts.append(found.float().flatten(1).cpu())
        out: NDArray[np.float32] = torch.cat(parts).numpy()
        return out


def extractor(name: str, runtime: Runtime) -> Extractor | None:
    """The network of that name, None for `domain`; UserError where its weights are not to be had."""
    if name == "domain":
        return None
    return _inception(runtime) if name == INCEPTION else _torchvision(name, runtime)


def _torchvision(name: str, runtime: Runtime) -> Extractor:
    """The model without its last layer, on inputs as its weights want them."""
    from torchvision.models import get_model, get_model_weights

    model = name.removeprefix(TORCHVISION)
    weights = get_model_weights(model).DEFAULT
    torchvision_state(model, DOMAIN)  # fetched, and read in a way that cannot run code
    path = weights_folder() / Path(weights.url).name
    with fetching(f"torchvision's {model}", path.name, DOMAIN), reading(path, model):
        # Not `load_state_dict`: old files have other names, and some models take other inputs with weights.
        net: nn.Module = get_model(model, weights=weights, progress=False)
    _without_head(net)
    return Frozen(net, weights.transforms(), runtime, name)


def _without_head(net: nn.Module) -> None:
    """Let the last linear layer hand through what comes in; the last convolution where there is none."""
    parts = list(net.named_modules())
    heads = [path for path, part in parts if isinstance(part, nn.Linear)] or [
        path for path, part in parts if isinstance(part, nn.Conv2d)
    ]
    above, _, own = heads[-1].rpartition(".")
    setattr(net.get_submodule(above), own, nn.Identity())


def _inception(runtime: Runtime) -> Extractor:
    """InceptionV3 as ported from the original FID code: figures comparable to the literature (2048 features)."""
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as ported
    except ImportError:
        raise UserError(
            "features: inception needs torch-fidelity: pip install 'augpipe[fidelity]'"
        ) from None
    path = weights_folder() / INCEPTION_WEIGHTS
    with fetching("Inception", INCEPTION_WEIGHTS, DOMAIN), reading(path, "Inception"):
        torch.hub.load_state_dict_from_url(
            ported.URL_INCEPTION_V3, file_name=INCEPTION_WEIGHTS, progress=False, check_hash=True,
            map_location="cpu", weights_only=True,
        )  # fmt: skip
        net = ported.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        )
    return Frozen(net, lambda batch: batch, runtime, INCEPTION)
