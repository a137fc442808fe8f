"""Classifiers on representations; they give logits, never a softmax."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from models.encoders import Encoder
from models.types import Images


class PaperProbe(nn.Sequential):
    """One hidden layer of 200 units (arXiv 1808.06670, section 4.1)."""

    def __init__(self, dim: int, classes: int, units: int = 200) -> None:
        super().__init__(
            nn.Linear(dim, units),
            nn.Dropout(0.1),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Linear(units, classes),
        )


class DenseClassifier(nn.Module):
    """dense32's classifier, 64 - 15 - 10 - classes, on Y (the PyTorch port; logits here)."""

    def __init__(self, dim: int = 64, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for units_in, units_out in pairwise((dim, 15, 10)):
            layers += [nn.Linear(units_in, units_out), nn.BatchNorm1d(units_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(10, classes))

    def forward(self, y: Float[Tensor, "images dim"]) -> Float[Tensor, "images classes"]:
        """Return class logits."""
        logits: Tensor = self.layers(y)
        return logits


class ClassifiedSummary(nn.Module):
    """An encoder with a linear classifier on Y, so that labels train everything that is served."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.summary_dim, classes)

    def forward(self, images: Images) -> Float[Tensor, "images classes"]:
        """Return class logits of normalised images."""
        logits: Tensor = self.classifier(self.encoder(images).y)
        return logits
