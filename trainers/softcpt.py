"""SoftCPT: a meta network turns each task's name into the prompt context of its classes.

The parts of the paper, with their symbols here, and where they are computed:

    u       task context                                        SoftContextSharing.__init__, `task_context`
    f_t     task feature, of [SOS][u][task name][.][EOS]        SoftContextSharing.task_features_of
    v       class context                                       SoftContextSharing.__init__, `class_context`
    g_c     class feature, of [SOS][v][class name][.][EOS]      SoftContextSharing.forward
    W       meta network: ctx = reshape(x W)                    parts/meta_net.py, MetaNet.forward
    w_c     classifier, of [SOS][ctx][class name][.][EOS]       SoftCPT.generated_features
    p(c|x)  softmax over the classes of a task                  engine/losses.py, within_task
    Eq. 8   loss of all tasks together                          engine/losses.py, multitask_cross_entropy
            class sampling                                      engine/losses.py, sample_classes
            variants NATA ... CSTS                              SoftContextSharing.__init__
"""

from collections.abc import Sequence
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn

from softcpt import distributed
from softcpt.backbones import CLIP
from softcpt.placement import distinct, on_host, to_device
from softcpt.prompts.encoder import Encoder
from softcpt.prompts.learned import POSITIONS, Context, PromptTemplate
from softcpt.prompts.owners import register_owners
from softcpt.tasks import Task

from .base import PromptTrainer
from .engine.checks import AT_LEAST_0, SHARE, TEXT, TOKENS, between
from .engine.choosing import Choice
from .engine.losses import knowledge_distance, sample_classes
from .parts.blend import Trust, best_trusts, blend
from .parts.meta_net import MetaNet


class SoftContextSharing(nn.Module):
    """Generates the contexts of the class prompts from the tasks' names and, with a class branch, the classes' names.

    Its parameters are the task context u, or a free feature per task; the class context v; and the meta network.
    """

    def __init__(self, options: Any, model: CLIP, encoder: Encoder, tasks: Sequence[Task]) -> None:
        super().__init__()
        classnames = [name for task in tasks for name in task.classnames]
        names = [task.name for task in tasks]
        self.encoder = encoder
        self.task_branch = options.META_NET != "lincls"
        if options.TASK_FEATURES == "learned":
            self.task_features = nn.Parameter(0.02 * torch.randn(len(tasks), model.embed_dim))  # (T, E)
            register_owners(self, names)
        elif self.task_branch:
            rows = names if options.VARIANT.endswith("TS") else None  # *TS: a context u per task; *TA: one for all
            at, words = options.TASK_TOKEN_POSITION, options.TASK_CTX_INIT
            self.task_context = Context(options.TASK_N_CTX, model, rows, words, position=at)
            self.task_template = PromptTemplate(names, self.task_context.n_context, model, at, words=words)
        self.class_branch = not options.VARIANT.startswith("NA")  # NA*: no class context
        if self.class_branch:
            rows = classnames if options.VARIANT.startswith("CS") else None  # CS*: a v per class; CA*: one for all
            at, words = options.CLASS_BRANCH_TOKEN_POSITION, options.CLASS_CTX_INIT
            self.class_context = Context(options.CLASS_N_CTX, model, rows, words, position=at)
            self.class_context.requires_grad_(not options.FREEZE_CLASS_CONTEXT)
            self.class_template = PromptTemplate(classnames, self.class_context.n_context, model, at, words=words)
        self.meta_net = MetaNet(options, model, self.class_branch)

    def encode_names(self, template: PromptTemplate, context: Context, rows: Tensor) -> Tensor:
        """Text features (R, E) of the names `rows` (R,) behind their context; not normalised."""
        ctx = context()
        if len(ctx) > 1:
            ctx, group = ctx[rows], torch.arange(len(rows), device=rows.device)
        else:
            group = torch.zeros_like(rows)
        return self.encoder(*template(ctx, group, rows), group)

    def task_features_of(self, tasks: Tensor) -> Tensor | None:
        """f_t (T', E) of the tasks `tasks` (T',); None for a meta network that reads none."""
        if hasattr(self, "task_features"):
            return self.task_features[tasks]
        if not self.task_branch:
            return None
        return self.encode_names(self.task_template, self.task_context, tasks)  # [SOS][u][task name][.][EOS]

    def forward(self, classes: Tensor, class_task: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (G, M, D) for `classes` (R,), and each class's context (R,)."""
        tasks, group = distinct(on_host(class_task)[on_host(classes)], classes.device)
        f = self.task_features_of(tasks)  # f_t (T', E) of the tasks in use
        if not self.class_branch:
            return self.meta_net(f), group  # ctx_t, one per task
        g = self.encode_names(
            self.class_template, self.class_context, classes
        )  # g_c (R, E): [SOS][v][class name][.][EOS]
        each = torch.arange(len(classes), device=classes.device)
        return self.meta_net(None if f is None else f[group], g), each  # ctx_c, one per class


@TRAINER_REGISTRY.register()
class SoftCPT(PromptTrainer):
    """Soft context sharing: Ding, Wang, Liu, et al. Prompt Tuning with Soft Context Sharing for Vision-Language Models.
    Neurocomputing 603, 2024, arXiv 2208.13474.

    The prompt [SOS][u][task name][.][EOS] gives the task feature f_t, and ctx_t = reshape(f_t W) is the context of the
    task's class prompts [SOS][ctx_t][class name][.][EOS]. All tasks share the meta network W and the task context u,
    which are trained on all tasks' images by the cross-entropy within each sample's task (Eq. 8). With a class branch
    the context also depends on the class prompt [SOS][v][class name][.][EOS].

    Not in the paper: BLEND and KNOWLEDGE_WEIGHT, which use the hand-made class features (docs/softcpt_options.md).
    """

    defaults = {
        "VARIANT": "NATA",  # {NA, CA, CS}: no, a shared or a per-class context v; {TA, TS}: u shared or per task
        "TASK_FEATURES": "text",  # the encoded task name, or "learned": a free vector per task (SoftCPT*)
        "META_NET": "lin",  # lin, lowrank, or with a class branch linmean or lincls
        "META_RANK": 64,  # rank of lowrank
        "N_CTX": 16,  # context tokens M of a class prompt
        "TASK_N_CTX": 4,  # tokens of the task context u
        "CLASS_N_CTX": 4,  # tokens of the class context v
        "TASK_CTX_INIT": "",  # initial words of u; their number of tokens then replaces TASK_N_CTX
        "CLASS_CTX_INIT": "",  # initial words of v
        "CLASS_TOKEN_POSITION": "end",  # of the class name: end, middle or front of the context
        "TASK_TOKEN_POSITION": "end",  # of the task name, at u
        "CLASS_BRANCH_TOKEN_POSITION": "end",  # of the class name, at v
        "FREEZE_CLASS_CONTEXT": False,  # True: v stays as it starts
        "CLASS_SAMPLE_RATE": 1.0,  # share of the classes outside the batch that a step encodes; 0.1 on General-10
        "SCHEDULE": "standard",  # or "released": the optimiser and scheduler steps of the public release
        # Not in the paper:
        "KNOWLEDGE_WEIGHT": 0.0,  # w: w / (images per class) times the distance to the hand-made class features
        "BLEND": False,  # test with a mix of generated and hand-made features, chosen on each task's validation shots
    }
    legal = {
        "VARIANT": ("NATA", "NATS", "CATA", "CATS", "CSTA", "CSTS"),
        "TASK_FEATURES": ("text", "learned"),
        "META_NET": ("lin", "linmean", "lincls", "lowrank"),
        "META_RANK": between(1, 4096),
        **dict.fromkeys(("N_CTX", "TASK_N_CTX", "CLASS_N_CTX"), TOKENS),
        **dict.fromkeys(("TASK_CTX_INIT", "CLASS_CTX_INIT"), TEXT),
        "CLASS_TOKEN_POSITION": POSITIONS,
        "TASK_TOKEN_POSITION": POSITIONS,
        "CLASS_BRANCH_TOKEN_POSITION": POSITIONS,
        "CLASS_SAMPLE_RATE": SHARE,
        "SCHEDULE": ("standard", "released"),
        "KNOWLEDGE_WEIGHT": AT_LEAST_0,
    }
    counted_by_words = {"TASK_N_CTX": "TASK_CTX_INIT", "CLASS_N_CTX": "CLASS_CTX_INIT"}

    def check_cfg(self, cfg: Any) -> None:
        super().check_cfg(cfg)
        options, key = cfg.TRAINER.SOFTCPT, "TRAINER.SOFTCPT."
        if options.META_NET in ("linmean", "lincls") and options.VARIANT.startswith("NA"):
            raise ValueError(
                f"{key}META_NET: {options.META_NET} reads class features, and VARIANT {options.VARIANT} has none; "
                "use lin or lowrank, or a variant CA* or CS*"
            )
        if options.FREEZE_CLASS_CONTEXT and options.VARIANT.startswith("NA"):
            raise ValueError(f"{key}FREEZE_CLASS_CONTEXT: True, but VARIANT {options.VARIANT} has no class context")
        if options.META_NET == "lincls" and options.TASK_FEATURES == "learned":
            raise ValueError(f"{key}TASK_FEATURES: learned, but META_NET lincls does not read task features")

    @property
    def searched(self) -> Choice | None:
        choice = Choice("SoftCPT's BLEND chooses", "TRAINER.SOFTCPT.BLEND must be False", "none")
        return choice if self.options.BLEND else None

    @property
    def variant(self) -> str:
        return self.options.VARIANT + ("*" if self.options.TASK_FEATURES == "learned" else "")

    def build_learned(self, model: CLIP, tasks: Sequence[Task]) -> SoftContextSharing:
        options = self.options
        if options.SCHEDULE == "released":
            # The public code registers one optimiser and scheduler under three names, or four with a class context that
            # is trained, and Dassl steps them once per name: optimisers at every batch, schedulers at every epoch.
            self.steps_per_batch = 3 if options.VARIANT.startswith("NA") or options.FREEZE_CLASS_CONTEXT else 4
        self.template = PromptTemplate(self.classnames, options.N_CTX, model, options.CLASS_TOKEN_POSITION)
        learned = SoftContextSharing(options, model, self.text_encoder, tasks)
        if options.KNOWLEDGE_WEIGHT or options.BLEND:
            self.zero_shot = self.zero_shot_features()  # (C, E)
        if options.BLEND:
            self.task_names = [task.name for task in tasks]
            learned.trust = Trust()
            learned.trust.set(self.task_names, torch.ones(len(tasks)))
        return learned

    def text_features(self, classes: Tensor | None = None) -> Tensor:
        classes = self.all_classes() if classes is None else classes
        features = self.generated_features(classes)
        if not self.options.BLEND or self.learned.training:
            return features
        trust = self.learned.trust(self.task_names)[self.class_task[classes]]  # (R,)
        return blend(features, self.zero_shot[classes], trust.unsqueeze(1))

    def new_class_features(self) -> Tensor:
        """Without BLEND, which trusts only the hand-made features of a new task."""
        return self.generated_features(self.all_classes())

    def generated_features(self, classes: Tensor) -> Tensor:
        """w_c (R, E) of `classes` (R,): [SOS][ctx][class name][.][EOS]."""
        contexts, group = self.learned(classes, self.class_task)
        return self.encode_classes(contexts, classes, group)

    def compute_loss(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.options.KNOWLEDGE_WEIGHT:
            return super().compute_loss(image, label)
        image_features, classes = self.image_features(image), self.candidates(label)
        classes = self.all_classes() if classes is None else classes
        features = self.class_features(classes)  # (R, E)
        loss, logs = self.cross_entropy(self.logits(image_features, features), label, classes)
        distance = knowledge_distance(features, self.zero_shot[classes])
        images_per_class = len(self.dm.dataset.train_x) / len(self.class_task)
        return loss + self.options.KNOWLEDGE_WEIGHT / images_per_class * distance, {**logs, "distance": distance}

    def after_epoch(self) -> None:
        if self.options.BLEND and (self.epoch + 1 == self.max_epoch or self.cfg.TEST.FINAL_MODEL == "best_val"):
            self.choose_trust()
        super().after_epoch()

    def choose_trust(self) -> None:
        """Set each task's trust in its generated features by its validation shots."""
        with self.autocast(), torch.no_grad():
            generated = self.generated_features(self.all_classes())
            self.learned.trust.set(self.task_names, best_trusts(self, generated, self.zero_shot))

    def candidates(self, label: Tensor) -> Tensor | None:
        """With CLASS_SAMPLE_RATE below 1, the classes of the batch and a random share of the others of its tasks."""
        rate, classes = self.options.CLASS_SAMPLE_RATE, super().candidates(label)
        if rate == 1:
            return classes
        classes = self.all_classes() if classes is None else classes
        label = distributed.gather_labels(on_host(label))
        drawn = sample_classes(classes, label, self.class_task, rate)
        return to_device(distributed.from_first_rank(on_host(drawn)), self.device)
