"""The classifier of one task, from image features to logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """Logits (B, R) = scale x W^T + bias; with keys K of labels L also alpha exp(beta (x K^T - 1)) one_hot(L).

    x (B, E) are image features. In a cosine classifier they and the rows of W are normalised; in a linear probe neither
    is, the scale is 1 and each class has a bias. The keys are Tip-Adapter's cache.

    Args:
        weight: (R, E).
        bias: (R,) or None.
        scale: the factor on the products.
        normalised: normalise the image features first.
        keys, labels: (N, E) and (N,), labels below R; None without a cache.
        alpha, beta: weight and sharpness of the cache.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        scale: float = 1.0,
        normalised: bool = True,
        keys: Tensor | None = None,
        labels: Tensor | None = None,
        alpha: float = 0.0,
        beta: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("bias", bias), ("keys", keys)):
            self.register_buffer(name, None if value is None else value.detach().float().clone())
        self.register_buffer("labels", None if labels is None else labels.detach().clone())
        self.scale, self.normalised, self.alpha, self.beta = float(scale), normalised, float(alpha), float(beta)

    @property
    def not_cosine(self) -> str:
        """The reason if the logits are not scaled cosine similarities with the rows of W, else ""."""
        if self.keys is not None:
            return "a cache of training images adds to its logits"
        if not self.normalised:
            return "its image features are not normalised"
        if self.bias is not None and not torch.equal(self.bias, self.bias[:1].expand_as(self.bias)):
            return "its classes have biases"
        return ""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, R) of image features (B, E), in fp32."""
        with torch.autocast(features.device.type, enabled=False):
            x = F.normalize(features.float(), dim=-1) if self.normalised else features.float()
            logits = self.scale * x @ self.weight.T
            if self.bias is not None:
                logits = logits + self.bias
            if self.keys is not None:
                one_hot = F.one_hot(self.labels, len(self.weight)).float()  # (N, R)
                logits = logits + self.alpha * torch.exp(self.beta * (x @ self.keys.T - 1)) @ one_hot
            return logits
