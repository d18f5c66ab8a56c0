"""MaPLe: prompts in the first layers of both towers, the image tower's computed from the text tower's."""

from collections.abc import Sequence

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt.backbones import CLIP, Tuning
from softcpt.prompts.deep import check_tunable, context_of_words, limited_depth, random_prompts
from softcpt.prompts.learned import Context
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import COUNT, TEXT, TOKENS


class MultiModalPrompts(nn.Module):
    """Text prompts P_0 ... P_{J-1} of M tokens each, and the coupling functions F_k that map them to image prompts.

    `ctx` (M, D) is P_0, the context of the class prompts; `deep` holds the other J - 1, (M, D) each, ~ N(0, 0.02^2).
    """

    def __init__(self, context: Context, depth: int, width: int) -> None:
        super().__init__()
        self.ctx = context.ctx
        self.deep = random_prompts(depth - 1, *self.ctx.shape)
        self.couplings = nn.ModuleList(nn.Linear(self.ctx.shape[1], width) for _ in range(depth))

    def text_prompts(self) -> list[Tensor]:
        """P_k (M, D) of each of the J layers (3.2.1)."""
        return [self.ctx, *self.deep]

    def image_prompts(self) -> list[Tensor]:
        """F_k(P_k) (M, W) of each of the J layers (3.2.3)."""
        return [couple(prompt) for couple, prompt in zip(self.couplings, self.text_prompts())]


@TRAINER_REGISTRY.register()
class MaPLe(PromptTrainer):
    """Multi-modal prompt learning: Khattak, Rasheed, Maaz, Khan, Khan. MaPLe: Multi-modal Prompt Learning. CVPR 2023,
    arXiv 2210.03117.

    Each of the first J layers of the text tower has context tokens of its own. A linear function maps them to the
    prompt tokens that the same layer of the image tower, a ViT, has beside its patches. So image features change with
    the prompts: they are not cached, and gradients run through both towers. Several tasks share all prompts.
    """

    defaults = {
        "N_CTX": 2,  # number of prompt tokens M of a layer
        "CTX_INIT": "a photo of a",  # words before the class name: the first M are learned, the others fixed; empty:
        # M learned tokens, ~ N(0, 0.02^2)
        "DEPTH": 9,  # number of layers J with prompts of their own, at most the towers' depth; 1: the first layer only
    }
    legal = {"N_CTX": TOKENS, "CTX_INIT": TEXT, "DEPTH": COUNT}

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> MultiModalPrompts:
        options = self.options
        what, instead = "MaPLe's image prompts are tokens of a ViT", "a method with text prompts alone, such as CoOp"
        check_tunable("image", model, self.cfg.MODEL.BACKBONE.NAME, what, instead)
        if options.DEPTH > 1:
            what, instead = "MaPLe's deep prompts are tokens in a tower's layers", "TRAINER.MAPLE.DEPTH 1"
            check_tunable("text", model, self.cfg.MODEL.BACKBONE.NAME, what, instead)
        layers = min(model.text.depth, model.visual.depth)
        depth = limited_depth("TRAINER.MAPLE.DEPTH", options.DEPTH, layers)
        key, words, count = "TRAINER.MAPLE.N_CTX", options.CTX_INIT, options.N_CTX
        context, self.template = context_of_words(words, count, self.classnames, model, key)
        return MultiModalPrompts(context, depth, model.visual.width)

    def tuning(self, tower: str) -> Tuning:
        """Deep vision prompting (3.2.2) and deep language prompting (3.2.1)."""
        return Tuning(self.learned.image_prompts() if tower == "image" else self.learned.text_prompts())

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        return self.encode_classes(self.learned.ctx.unsqueeze(0), classes)
