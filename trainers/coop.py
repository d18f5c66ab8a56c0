"""CoOp: learned contexts shared by all tasks, one per task, or one per class."""

from collections.abc import Sequence

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from softcpt.backbones import CLIP
from softcpt.placement import distinct, on_host
from softcpt.prompts.learned import POSITIONS, Context, PromptTemplate
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import TEXT, TOKENS


@TRAINER_REGISTRY.register()
class CoOp(PromptTrainer):
    """Context optimisation: Zhou, Yang, Loy, Liu. Learning to Prompt for Vision-Language Models. IJCV 2022,
    arXiv 2109.01134.

    The context of the class prompt [SOS][v_1 ... v_M][class name][.][EOS] is M free vectors, trained by cross-entropy.
    Several tasks share one context (CoOp-MT in SoftCPT's paper), or each task (`TSC`) or class (`CSC`, CoOp-CS) has its
    own; all are trained together by the multi-task loss.
    """

    pads_init = False  # True: CTX_INIT fills the last of the N_CTX tokens, zeros the others

    defaults = {
        "N_CTX": 16,  # number of context tokens M
        "CSC": False,  # one context per class
        "TSC": False,  # one context per task
        "CTX_INIT": "",  # initial words; their number of tokens then replaces N_CTX
        "CLASS_TOKEN_POSITION": "end",  # of the class name: end, middle or front of the context
    }
    legal = {"N_CTX": TOKENS, "CTX_INIT": TEXT, "CLASS_TOKEN_POSITION": POSITIONS}
    counted_by_words = {"N_CTX": "CTX_INIT"}

    def check_cfg(self, cfg) -> None:
        super().check_cfg(cfg)
        key = type(self).__name__.upper()
        if cfg.TRAINER[key].CSC and cfg.TRAINER[key].TSC:
            raise ValueError(
                f"TRAINER.{key}.CSC and TRAINER.{key}.TSC are both True: a context is per class or per task"
            )

    @property
    def variant(self) -> str:
        return "per-class" if self.options.CSC else "per-task" if self.options.TSC else "shared"

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> Context:
        options = self.options
        rows = self.classnames if options.CSC else [task.name for task in tasks] if options.TSC else None
        words, position = options.CTX_INIT, options.CLASS_TOKEN_POSITION
        context = Context(options.N_CTX, model, rows, words, self.pads_init, position)
        self.template = PromptTemplate(self.classnames, context.n_context, model, position, words=words)
        return context

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        contexts = self.learned()  # (1, T or C, M, D)
        if not (self.options.CSC or self.options.TSC):
            return self.encode_classes(contexts, classes)
        classes = self.all_classes() if classes is None else classes
        owner = classes if self.options.CSC else on_host(self.class_task)[on_host(classes)]
        used, group = distinct(owner, self.device)
        return self.encode_classes(contexts[used], classes, group)
