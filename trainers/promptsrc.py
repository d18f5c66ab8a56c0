"""PromptSRC: independent prompts in both towers, with losses that keep them near the pretrained CLIP."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP, Tuning
from softcpt.prompts.deep import check_tunable, context_of_words, limited_depth, random_prompts
from softcpt.prompts.learned import Context
from softcpt.prompts.zero_shot import IMAGENET, averaged_features
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import ABOVE_0, AT_LEAST_0, COUNT, COUNT_OR_0, NUMBER, TEXT, TOKENS
from .engine.losses import agreement_divergence, within_task
from .parts.averaging import RunningAverage, gaussian_weights


class IndependentPrompts(nn.Module):
    """Prompts of the layers of both towers, and their average over the epochs.

    `ctx` (M, D) is the context of the class prompts; `text` holds the prompts (M, D) of the text tower's further
    layers, and `image` those of the image tower's layers, (M_v, W) each.
    """

    def __init__(self, context: Context, text: nn.ParameterList, image: nn.ParameterList) -> None:
        super().__init__()
        self.ctx, self.text, self.image = context.ctx, text, image
        self.average = RunningAverage(self)


@TRAINER_REGISTRY.register()
class PromptSRC(PromptTrainer):
    """Prompting with self-regulating constraints: Khattak, Wasim, Naseer, Khan, Yang, Khan. Self-regulating Prompts:
    Foundational Model Adaptation without Forgetting. ICCV 2023, arXiv 2307.06948.

    The first layers of both towers have prompts of their own. Three losses besides the cross-entropy are the distances
    of class features, image features and logits to those of the pretrained CLIP, whose class features are means over
    the first 60 of the 80 templates that CLIP's authors published for ImageNet (Eq. 3, 4). The prompts that are tested
    are their average over the epochs, weighted by a Gaussian (Eq. 6).

    Several tasks share the prompts and the 60 templates; logits are compared within a sample's own task. With
    `PROMPT_DEPTH_VISION` 0 the image tower has no prompts, and need not be a ViT.
    """

    defaults = {
        "N_CTX_TEXT": 4,  # number of prompt tokens M of a layer of the text tower
        "N_CTX_VISION": 4,  # the same of the image tower, M_v
        "CTX_INIT": "a photo of a",  # words before the class name: the first M are learned, the others fixed; empty:
        # M learned tokens, ~ N(0, 0.02^2)
        "PROMPT_DEPTH_TEXT": 9,  # number of layers with prompts of their own, at most the tower's depth
        "PROMPT_DEPTH_VISION": 9,  # the same of the image tower; 0: none
        "TEXT_LOSS_WEIGHT": 25.0,  # of the distance of class features, lambda_1
        "IMAGE_LOSS_WEIGHT": 10.0,  # of the distance of image features, lambda_2
        "GPA_MEAN": 15.0,  # epoch, counted from 1, with the largest weight in the average
        "GPA_STD": 1.0,  # standard deviation of the weights, in epochs
    }
    legal = {
        **dict.fromkeys(("N_CTX_TEXT", "N_CTX_VISION"), TOKENS),
        "CTX_INIT": TEXT,
        "PROMPT_DEPTH_TEXT": COUNT,
        "PROMPT_DEPTH_VISION": COUNT_OR_0,
        **dict.fromkeys(("TEXT_LOSS_WEIGHT", "IMAGE_LOSS_WEIGHT"), AT_LEAST_0),
        "GPA_MEAN": NUMBER,
        "GPA_STD": ABOVE_0,
    }

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> IndependentPrompts:
        options, key = self.options, "TRAINER.PROMPTSRC"
        if options.PROMPT_DEPTH_VISION:
            what, instead = "PromptSRC's image prompts are tokens of a ViT", f"{key}.PROMPT_DEPTH_VISION 0"
            check_tunable("image", model, self.cfg.MODEL.BACKBONE.NAME, what, instead)
        if options.PROMPT_DEPTH_TEXT > 1:
            what, instead = "PromptSRC's deep prompts are tokens in a tower's layers", f"{key}.PROMPT_DEPTH_TEXT 1"
            check_tunable("text", model, self.cfg.MODEL.BACKBONE.NAME, what, instead)
        self.teacher = averaged_features(tasks, IMAGENET, model, self.text_encoder)  # (C, E)
        words, count = options.CTX_INIT, options.N_CTX_TEXT
        context, self.template = context_of_words(words, count, self.classnames, model, f"{key}.N_CTX_TEXT")
        text_depth = limited_depth(f"{key}.PROMPT_DEPTH_TEXT", options.PROMPT_DEPTH_TEXT, model.text.depth)
        image_depth = limited_depth(f"{key}.PROMPT_DEPTH_VISION", options.PROMPT_DEPTH_VISION, model.visual.depth)
        return IndependentPrompts(
            context,
            random_prompts(text_depth - 1, count, model.text.width),
            random_prompts(image_depth, options.N_CTX_VISION, model.visual.width),
        )

    def tuning(self, tower: str) -> Tuning:
        return Tuning(self.learned.image if tower == "image" else [self.learned.ctx, *self.learned.text])

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        return self.encode_classes(self.learned.ctx.unsqueeze(0), classes)

    def compute_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        classes, options = self.candidates(label), self.options
        text, images = self.class_features(classes), self.image_features(image)  # (R, E), (B, E)
        frozen_text = self.teacher if classes is None else self.teacher[classes]
        with torch.no_grad():
            frozen_images = self.clip.encode_image(image) if self.tunes_images else images
        logits, frozen_logits = self.logits(images, text), self.logits(frozen_images, frozen_text)
        loss, logs = self.cross_entropy(logits, label, classes)
        terms = {
            "text": options.TEXT_LOSS_WEIGHT * mean_distance(text, frozen_text),  # lambda_1 L_SCL-text (Eq. 3)
            "image": options.IMAGE_LOSS_WEIGHT * mean_distance(images, frozen_images),  # lambda_2 L_SCL-image (Eq. 3)
            "divergence": agreement_divergence(  # L_SCL-logits (Eq. 4)
                *(within_task(x, label, self.class_task, classes) for x in (logits, frozen_logits))
            ),
        }
        return loss + sum(terms.values()), {**logs, **terms}

    def after_epoch(self) -> None:
        self.average_prompts()
        super().after_epoch()

    def average_prompts(self) -> None:
        """Add an epoch's prompts to the average (Eq. 6), which replaces them after the last epoch."""
        weights = gaussian_weights(self.max_epoch, self.options.GPA_MEAN, self.options.GPA_STD)
        prompts = self.learned
        prompts.average.add(prompts, weights[self.epoch].item())
        if self.epoch + 1 == self.max_epoch:
            prompts.average.copy_to(prompts)


def mean_distance(features: Tensor, frozen: Tensor) -> Tensor:
    """The mean absolute difference of the entries of normalised features, both (N, E)."""
    return F.l1_loss(F.normalize(features.float(), dim=-1), F.normalize(frozen.float(), dim=-1))
