"""A gated PixelCNN (van den Oord et al. 2016): parameters of each pixel by those before it, and cached sampling.

Pixels come in raster order. A vertical stack sees the rows above, a horizontal one the pixels to the left and, through
the vertical one, all above. In place of masks, inputs are shifted by one pixel and convolutions are padded on one side
(Salimans et al. 2017, section 2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.nn.blocks import Dropout

# Parameters of a pixel (N,P), its row and column → its values in [-1,1], (N,C).
Pick = Callable[[torch.Tensor, int, int], torch.Tensor]


def gated(x: torch.Tensor) -> torch.Tensor:
    """(N,2F,...) → (N,F,...): tanh of one half times sigmoid of the other (van den Oord et al. 2016, eq. 2)."""
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks, with the class in the gates (van den Oord et al. 2016, figure 2 and eq. 4)."""

    def __init__(self, features: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(features, 2 * features, (2, 3))
        self.horizontal = nn.Conv2d(features, 2 * features, (1, 2))
        self.across = nn.Conv2d(2 * features, 2 * features, 1)
        self.out = nn.Conv2d(features, features, 1)
        self.classes = nn.Embedding(classes, 4 * features)
        self.dropout = Dropout(dropout)

    def down(self, rows: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertical features (N,F,R+1,W), the row above first → features (N,F,R,W), gates for `right` (N,2F,R,W)."""
        of_vertical, of_horizontal = self.classes(labels)[:, :, None, None].chunk(2, 1)
        h = self.vertical(F.pad(rows, (1, 1)))
        return gated(h + of_vertical), self.across(h) + of_horizontal

    def right(self, columns: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        """Horizontal features (N,F,R,W+1), the column to the left first, gates of `down` → features (N,F,R,W)."""
        h = gated(self.horizontal(columns) + gates)
        out: torch.Tensor = columns[:, :, :, 1:] + self.out(self.dropout(h))
        return out


class GatedPixelCNN(nn.Module):
    """Images (N,C,H,W) in [-1,1], labels (N,) → parameters (N,P,H,W); those of a pixel depend on earlier pixels."""

    def __init__(
        self, channels: int, classes: int, outputs: int, *, features: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.channels, self.features = channels, features
        # One more channel, of ones, tells pixels from the padding.
        self.above, self.left = nn.Conv2d(channels + 1, features, (1, 3)), nn.Conv2d(channels + 1, features, 1)
        self.gated = nn.ModuleList(GatedLayer(features, classes, dropout) for _ in range(layers))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(features, features, 1), nn.ReLU())
        self.last = nn.Conv2d(features, outputs, 1)

    @property
    def layers(self) -> list[GatedLayer]:
        """The gated layers, in order."""
        return cast(list[GatedLayer], list(self.gated))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        v = self.above(F.pad(x[:, :, :-1], (1, 1, 1, 0)))
        h = self.left(F.pad(x[:, :, :, :-1], (1, 0)))
        for layer in self.layers:
            v, gates = layer.down(F.pad(v, (0, 0, 1, 0)), labels)
            h = layer.right(F.pad(h, (1, 0)), gates)
        out: torch.Tensor = self.last(self.head(h))
        return out

    @torch.no_grad()
    def generate(self, labels: torch.Tensor, size: int, pick: Pick) -> torch.Tensor:
        """Pixel by pixel, labels (N,) → images (N,C,size,size); pick: draws a pixel by its parameters.

        Activations are cached: a row's vertical features are computed once, a pixel's horizontal ones once.
        """
        n, blank = len(labels), self.last.weight.new_zeros
        x = blank(n, self.channels + 1, size, size)
        row, above = blank(n, self.channels + 1, 1, size), [blank(n, self.features, 1, size) for _ in self.layers]
        for i in range(size):
            v, gates = self.above(F.pad(row, (1, 1))), []
            for k, layer in enumerate(self.layers):
                above[k], (v, gate) = v, layer.down(torch.cat([above[k], v], 2), labels)
                gates.append(gate)
            pixel, left = blank(n, self.channels + 1, 1, 1), [blank(n, self.features, 1, 1) for _ in self.layers]
            for j in range(size):
                h = self.left(pixel)
                for k, layer in enumerate(self.layers):
                    left[k], h = h, layer.right(torch.cat([left[k], h], 3), gates[k][:, :, :, j : j + 1])
                values = pick(self.last(self.head(h))[:, :, 0, 0], i, j)
                x[:, :, i, j] = torch.cat([values, torch.ones_like(values[:, :1])], 1)
                pixel = x[:, :, i : i + 1, j : j + 1]
            row = x[:, :, i : i + 1]
        return x[:, :-1]
