"""SoftCPT's meta network, from the features of task and class names to the contexts of class prompts."""

from typing import Any

import torch
from torch import Tensor, nn

from softcpt.backbones import CLIP


class MetaNet(nn.Module):
    """The meta network that all tasks share: ctx = reshape(x W, M x D), without bias, W ~ N(0, 0.02^2).

    `lin` reads the task feature f_t, or with a class branch the concatenation of the class feature g_c and f_t;
    `linmean` reads their mean, `lincls` only g_c; `lowrank` is `lin` with W = A B of rank META_RANK.
    """

    def __init__(self, options: Any, model: CLIP, class_branch: bool) -> None:
        super().__init__()
        self.kind, self.shape = options.META_NET, (options.N_CTX, model.text.width)
        n_in = model.embed_dim * (2 if class_branch and self.kind in ("lin", "lowrank") else 1)
        n_out, rank = options.N_CTX * model.text.width, options.META_RANK
        if self.kind == "lowrank":
            # A ~ N(0, 1/rank) and B ~ N(0, 0.02^2): the entries of A B have the variance of W's.
            self.down = nn.Parameter(torch.randn(n_in, rank) / rank**0.5)
            self.up = nn.Parameter(0.02 * torch.randn(rank, n_out))
        else:
            self.weight = nn.Parameter(0.02 * torch.randn(n_in, n_out))

    def forward(self, task_features: Tensor | None, class_features: Tensor | None = None) -> Tensor:
        """Contexts (N, M, D) of task features (N, E) (None for lincls) and, with a class branch, class features."""
        if class_features is None:
            x = task_features  # f_t
        elif self.kind == "linmean":
            x = (class_features + task_features) / 2  # (g_c + f_t) / 2
        elif self.kind == "lincls":
            x = class_features  # g_c
        else:
            x = torch.cat([class_features, task_features], dim=1)  # [g_c, f_t]
        x = x @ self.down @ self.up if self.kind == "lowrank" else x @ self.weight  # x W
        return x.unflatten(1, self.shape)  # ctx (N, M, D)
