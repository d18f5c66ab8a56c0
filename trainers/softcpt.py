"""SoftCPT: a meta network turns each task's name into the prompt context of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from backbones import CLIP
from datasets.multitask import Task

from .base import PromptTrainer
from .modules import distributed
from .modules.checkpoints import register_owners
from .modules.checks import check_choice
from .modules.losses import knowledge_distance, sample_classes
from .modules.method_parts.blend import TRUSTS, Trust, blend, task_losses
from .modules.method_parts.validation import refuse_test_images
from .modules.prompts.encoder import TextEncoder
from .modules.prompts.hand_made import hand_made_features
from .modules.prompts.learned import Context, PromptTemplate

VARIANTS = ("NATA", "NATS", "CATA", "CATS", "CSTA", "CSTS")
META_NETS = ("lin", "linmean", "lincls", "lowrank")


class MetaNet(nn.Module):
    """The shared map from features to contexts: ctx = reshape(x W, M x D), without bias, W ~ N(0, 0.02^2).

    `lin` reads the task feature f_t, or with a class branch the concatenation of the class feature g_c and f_t;
    `linmean` reads their mean, `lincls` g_c alone; `lowrank` is `lin` with W = A B of rank `rank`.
    """

    def __init__(self, kind: str, n_features: int, n_context: int, width: int, class_branch: bool, rank: int) -> None:
        super().__init__()
        self.kind, self.shape = kind, (n_context, width)
        n_in = 2 * n_features if class_branch and kind in ("lin", "lowrank") else n_features
        if kind == "lowrank":
            # A ~ N(0, 1/rank) and B ~ N(0, 0.02^2): the entries of A B have the variance of W's.
            self.down = nn.Parameter(torch.randn(n_in, rank) / rank**0.5)
            self.up = nn.Parameter(0.02 * torch.randn(rank, n_context * width))
        else:
            self.weight = nn.Parameter(0.02 * torch.randn(n_in, n_context * width))

    def forward(self, task_features: Tensor | None, class_features: Tensor | None = None) -> Tensor:
        """Contexts (N, M, D) of task features (N, E) (None for lincls) and, with a class branch, class features."""
        if class_features is None:
            x = task_features
        elif self.kind == "linmean":
            x = (class_features + task_features) / 2
        elif self.kind == "lincls":
            x = class_features
        else:
            x = torch.cat([class_features, task_features], dim=1)
        x = x @ self.down @ self.up if self.kind == "lowrank" else x @ self.weight
        return x.unflatten(1, self.shape)


class SoftContextSharing(nn.Module):
    """Contexts of the classes' prompts, generated from the tasks' names (and, with a class branch, the classes').

    Learnable are the task context u (M1 x D), or a free feature per task; the class context v; and the meta network.
    """

    def __init__(self, options: Any, model: CLIP, encoder: TextEncoder, tasks: Sequence[Task]) -> None:
        super().__init__()
        classnames = [name for task in tasks for name in task.classnames]
        names = [task.name for task in tasks]
        self.encoder = encoder
        n_features, width = model.embed_dim, model.text.width
        self.task_branch = options.META_NET != "lincls"
        if options.TASK_FEATURES == "learned":
            self.task_features = nn.Parameter(0.02 * torch.randn(len(tasks), n_features))  # (T, E)
            register_owners(self, names)
        elif self.task_branch:
            rows = names if options.VARIANT.endswith("TS") else None
            self.task_context = Context(options.TASK_N_CTX, model, rows, options.TASK_CTX_INIT)
            self.task_template = PromptTemplate(names, self.task_context.n_context, model)
        self.class_branch = not options.VARIANT.startswith("NA")
        if self.class_branch:
            rows = classnames if options.VARIANT.startswith("CS") else None
            self.class_context = Context(options.CLASS_N_CTX, model, rows, options.CLASS_CTX_INIT)
            self.class_template = PromptTemplate(classnames, self.class_context.n_context, model)
        self.meta_net = MetaNet(
            options.META_NET, n_features, options.N_CTX, width, self.class_branch, options.META_RANK
        )

    def encode_names(self, template: PromptTemplate, context: Context, rows: Tensor) -> Tensor:
        """Text features (R, E) of the names `rows` (R,) in their context: not normalised, with gradient to it."""
        ctx = context()
        if len(ctx) > 1:
            ctx, group = ctx[rows], torch.arange(len(rows), device=rows.device)
        else:
            group = torch.zeros_like(rows)
        prefix, suffix, lengths = template(ctx, group, rows)
        return self.encoder(prefix, suffix, lengths, group)

    def forward(self, rows: Tensor, class_task: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (G, M, D) for the classes `rows` (R,), and each class's context (R,)."""
        tasks, group = class_task[rows].unique(return_inverse=True)
        f = g = None
        if hasattr(self, "task_features"):
            f = self.task_features[tasks]
        elif self.task_branch:
            f = self.encode_names(self.task_template, self.task_context, tasks)  # (T', E), f_t of the tasks in use
        if self.class_branch:
            g = self.encode_names(self.class_template, self.class_context, rows)  # (R, E), g_c
            f = f[group] if self.task_branch else None
            group = torch.arange(len(rows), device=rows.device)
        return self.meta_net(f, g), group


@TRAINER_REGISTRY.register()
class SoftCPT(PromptTrainer):
    """Soft context sharing: Ding, Wang, Liu, et al. Prompt Tuning with Soft Context Sharing for Vision-Language Models.
    Neurocomputing 603, 2024, arXiv 2208.13474.

    The prompt [SOS][u][task name][.][EOS] gives the task feature f_t, and ctx_t = reshape(f_t W) is the context of the
    task's class prompts [SOS][ctx_t][class name][.][EOS]. The meta network W and the task context u are shared by all
    tasks and trained on their joint training set, with the cross-entropy within each sample's task (Eq. 8). With a
    class branch the context depends on the class's own prompt [SOS][v][class name][.][EOS], too.

    Not in the paper: BLEND and KNOWLEDGE_WEIGHT lean on the hand-made class features, docs/softcpt_options.md.
    """

    defaults = {
        "VARIANT": "NATA",  # {NA, CA, CS}: no, a shared or a per-class context v; {TA, TS}: u shared or per task
        "TASK_FEATURES": "text",  # of the encoded task name, or "learned": one free vector per task (SoftCPT*)
        "META_NET": "lin",  # lin, linmean, lincls (the last two with a class branch only) or lowrank
        "META_RANK": 64,  # rank of lowrank
        "N_CTX": 16,  # context tokens M of a class prompt
        "TASK_N_CTX": 4,  # tokens of the task context u
        "CLASS_N_CTX": 4,  # tokens of the class context v
        "TASK_CTX_INIT": "",  # initial words of u; their number takes the place of TASK_N_CTX
        "CLASS_CTX_INIT": "",  # initial words of v
        "CLASS_TOKEN_POSITION": "end",  # of the class name: end, middle or front of the context
        "CLASS_SAMPLE_RATE": 1.0,  # share of the other classes that a step encodes; 0.1 saves memory on General-10
        "SCHEDULE": "standard",  # or "released": the optimiser and scheduler steps of the public release
        # Not in the paper:
        "KNOWLEDGE_WEIGHT": 0.0,  # w: w / (images per class) times the distance to the hand-made class features
        "BLEND": False,  # test with generated and hand-made features mixed, as each task's validation shots choose
        "PREC": "amp",  # fp32, amp, fp16 or bf16
    }

    def check_cfg(self, cfg: Any) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.SOFTCPT
        key = "TRAINER.SOFTCPT."
        check_choice(key + "VARIANT", options.VARIANT, VARIANTS)
        check_choice(key + "TASK_FEATURES", options.TASK_FEATURES, ("text", "learned"))
        check_choice(key + "META_NET", options.META_NET, META_NETS)
        check_choice(key + "SCHEDULE", options.SCHEDULE, ("standard", "released"))
        if options.META_NET in ("linmean", "lincls") and options.VARIANT.startswith("NA"):
            raise ValueError(
                f"{key}META_NET: {options.META_NET} reads class features, and VARIANT {options.VARIANT} has none; "
                "use lin or lowrank, or a variant CA* or CS*"
            )
        if options.META_NET == "lincls" and options.TASK_FEATURES == "learned":
            raise ValueError(f"{key}TASK_FEATURES: learned, but META_NET lincls does not read task features")
        if not 0 < options.CLASS_SAMPLE_RATE <= 1:
            raise ValueError(f"{key}CLASS_SAMPLE_RATE: {options.CLASS_SAMPLE_RATE} is not in (0, 1]")
        if options.KNOWLEDGE_WEIGHT < 0:
            raise ValueError(f"{key}KNOWLEDGE_WEIGHT: {options.KNOWLEDGE_WEIGHT} is not at least 0")

    @property
    def variant(self) -> str:
        return self.options.VARIANT + ("*" if self.options.TASK_FEATURES == "learned" else "")

    def build_prompts(self, model: CLIP, tasks: Sequence[Task]) -> SoftContextSharing:
        options = self.options
        if options.SCHEDULE == "released":
            # The release registers one optimiser and scheduler under three names, four with a class branch, and Dassl
            # steps them once per name: that many optimiser steps on a batch's gradient, and scheduler steps an epoch.
            self.steps_per_batch = 3 if options.VARIANT.startswith("NA") else 4
        self.template = PromptTemplate(self.classnames, options.N_CTX, model, options.CLASS_TOKEN_POSITION)
        prompts = SoftContextSharing(options, model, self.text_encoder, tasks)
        if options.KNOWLEDGE_WEIGHT or options.BLEND:
            with self.autocast():
                self.handmade = hand_made_features(tasks, "", model, self.text_encoder)  # (C, E)
        if options.BLEND:
            self.task_names = [task.name for task in tasks]
            prompts.trust = Trust()
            prompts.trust.set(self.task_names, torch.ones(len(tasks)))
        return prompts

    def text_features(self, rows: Tensor | None = None) -> Tensor:
        rows = self.all_classes() if rows is None else rows
        features = self.generated_features(rows)
        if not self.options.BLEND or self.prompts.training:
            return features
        trust = self.prompts.trust(self.task_names)[self.class_task[rows]]  # (R,)
        return blend(features, self.handmade[rows], trust.unsqueeze(1))

    def new_class_features(self) -> Tensor:
        """Of the contexts alone: BLEND would leave a new task to the hand-made prompts."""
        return self.generated_features(self.all_classes())

    def generated_features(self, rows: Tensor) -> Tensor:
        context, group = self.prompts(rows, self.class_task)
        prefix, suffix, lengths = self.template(context, group, rows)
        return self.text_encoder(prefix, suffix, lengths, group)

    def compute_loss(self, image_features: Tensor, label: Tensor) -> tuple[Tensor, dict[str, float]]:
        if not self.options.KNOWLEDGE_WEIGHT:
            return super().compute_loss(image_features, label)
        rows = self.candidates(label)
        rows = self.all_classes() if rows is None else rows
        features = self.class_features(rows)  # (R, E)
        loss, logs = self.cross_entropy(self.logits(image_features, features), label, rows)
        distance = knowledge_distance(features, self.handmade[rows])
        images_per_class = len(self.dm.dataset.train_x) / len(self.class_task)
        return loss + self.options.KNOWLEDGE_WEIGHT / images_per_class * distance, {**logs, "distance": distance.item()}

    def after_epoch(self) -> None:
        if self.options.BLEND and (self.epoch + 1 == self.max_epoch or self.cfg.TEST.FINAL_MODEL == "best_val"):
            self.choose_trust()
        super().after_epoch()

    @torch.no_grad()
    def choose_trust(self) -> None:
        """Let each task's trust be the one with the lowest cross-entropy on its validation shots; 1 without them."""
        refuse_test_images(self.dm.dataset, "SoftCPT's BLEND chooses", "TRAINER.SOFTCPT.BLEND must be False")
        losses = torch.zeros(len(TRUSTS), len(self.tasks), device=self.device)
        with self.autocast():
            features = self.generated_features(self.all_classes())
            for batch in self.val_loader or ():
                x, label = self.image_features(batch["img"].to(self.device)), batch["label"].to(self.device)
                for i, trust in enumerate(TRUSTS.tolist()):
                    logits = self.logits(x, blend(features, self.handmade, trust))
                    losses[i] += task_losses(logits, label, self.class_task)
        best = distributed.sum_over_ranks(losses).argmin(0)  # (T,)
        self.prompts.trust.set(self.task_names, TRUSTS.to(self.device)[best])

    def candidates(self, label: Tensor) -> Tensor | None:
        rate, rows = self.options.CLASS_SAMPLE_RATE, super().candidates(label)
        if rate == 1:
            return rows
        rows = self.all_classes() if rows is None else rows
        label = distributed.gather_labels(label)
        return distributed.from_first_rank(sample_classes(rows, label, self.class_task, rate))

    def update_lr(self, names: list[str] | None = None) -> None:
        for _ in range(self.steps_per_batch):
            super().update_lr(names)
