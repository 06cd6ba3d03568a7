"""ViT-Tiny: 49 patches of 4×4 pixels and a class token through three pre-norm encoder layers.

Assumptions, for what the paper leaves open: pre-norm, GELU, class token and positions from a
truncated normal (0.02), which are the original's habits, and no dropout, which is not.
"""

import torch
from torch import Tensor, nn

from .checks import require

IMAGE_SIZE = 28  # pixels a side


class PatchEmbedding(nn.Module):
    """Cut the image into patches, embed each, put the class token in front, add the positions."""

    def __init__(self, *, patch: int, width: int) -> None:
        super().__init__()
        tokens = (IMAGE_SIZE // patch) ** 2 + 1
        self.project = nn.Conv2d(1, width, kernel_size=patch, stride=patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to tokens (B, 50, 64)."""
        patches = self.project(images)  # (B, 64, 7, 7)
        patches = patches.flatten(2).transpose(1, 2)  # (B, 49, 64)
        class_token = self.class_token.expand(len(images), -1, -1)  # (B, 1, 64)
        return torch.cat([class_token, patches], dim=1) + self.positions


class SelfAttention(nn.Module):
    """Multi-head self-attention, softmax(QKᵀ/√d)·V (Vaswani et al. 2017, equation 1).

    Written out, since PyTorch's own functions are no faster at this size (`benchmarks/README.md`).
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, width) to tokens of the same shape."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        scale = (width // self.heads) ** -0.5
        weights = (queries * scale @ keys.transpose(-2, -1)).softmax(dim=-1)  # (B, heads, T, T)
        mixed = (weights @ values).transpose(1, 2).reshape(batch, tokens, width)
        return self.output(mixed)


class EncoderLayer(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added after (pre-norm)."""

    def __init__(self, *, width: int, heads: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width=width, heads=heads)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, width) to tokens of the same shape."""
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.mlp(self.norm2(x))


class ViTTiny(nn.Module):
    """ViT-Tiny (paper, section 3.3.5); 105,546 parameters at the defaults.

    `depth` counts encoder layers, `mlp_width` is the perceptron's hidden one, `patch` the pixels a
    patch is wide and high. `dropout` acts where the original's does: on the embedded tokens, after
    the attention and within the perceptron, not on the attention weights.
    """

    def __init__(
        self,
        *,
        depth: int = 3,
        heads: int = 8,
        width: int = 64,
        mlp_width: int = 128,
        patch: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require(width % heads == 0, f"heads must divide the width {width}, and {heads} does not")
        fits = IMAGE_SIZE % patch == 0
        require(fits, f"patch must divide the image's {IMAGE_SIZE} pixels, and {patch} does not")
        self.embedding = PatchEmbedding(patch=patch, width=width)
        self.dropout = nn.Dropout(dropout)
        sizes = {"width": width, "heads": heads, "mlp_width": mlp_width, "dropout": dropout}
        self.encoder = nn.Sequential(*(EncoderLayer(**sizes) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) to logits (B, 10)."""
        x = self.dropout(self.embedding(images))  # (B, 50, 64)
        x = self.encoder(x)  # (B, 50, 64)
        class_token = self.norm(x[:, 0])  # (B, 64): only this token is read, so only it is normed
        return self.classifier(class_token)  # (B, 10)
