"""The learned prompts of a trained method: contexts, the words nearest to their tokens, and task features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softcpt.backbones import CLIP
from softcpt.prompts.owners import digest_of_names
from trainers import PromptTrainer
from trainers.softcpt import SoftContextSharing

AT_A_TIME = 512  # context tokens compared with the whole vocabulary at once
SAMPLED = 128  # words whose distance to their nearest neighbour shows what is near


@dataclass(frozen=True)
class Context:
    """Context tokens (M, D) and their owner: all tasks, a task, a class, or a prompt."""

    owner: str
    task: int | None  # None for a context of all tasks
    tokens: Tensor


@torch.no_grad()
def contexts_of(trainer: PromptTrainer) -> list[Context]:
    """The contexts that a method has learned, or generates for its tasks, in the space of CLIP's token embedding.

    SoftCPT has one per task, or with a class branch one per class. Other methods have the parameter `ctx`: CoCoOp's is
    not shifted by an image, and that of MaPLe and PromptSRC is the first layer's (prompts of deeper layers replace
    hidden states, which words are not comparable with). Raises ValueError, with the reason, for a method without any.
    """
    prompts, tasks = trainer.learned, [task.name for task in trainer.tasks]
    if isinstance(prompts, SoftContextSharing):
        rows = trainer.all_classes()
        with trainer.autocast():
            contexts, group = prompts(rows, trainer.class_task)
        if not prompts.class_branch:
            return _owned(contexts, tasks, range(len(tasks)))
        return _owned(contexts[group], *_classes(trainer))
    ctx = getattr(prompts, "ctx", None)
    if not isinstance(ctx, Tensor) or ctx.dim() not in (2, 3):
        raise ValueError(f"{type(trainer).__name__} has no contexts to look into: {_instead(trainer)}")
    if ctx.dim() == 2:
        return _owned(ctx.unsqueeze(0), ["all tasks" if len(tasks) > 1 else tasks[0]], [None])
    owners = getattr(prompts, "owners", None)
    if owners is not None and torch.equal(owners.cpu(), digest_of_names(tasks)):
        return _owned(ctx, tasks, range(len(tasks)))
    if owners is not None:
        return _owned(ctx, *_classes(trainer))
    return _owned(ctx, [f"prompt {i + 1}" for i in range(len(ctx))], [None] * len(ctx))


def _owned(contexts: Tensor, owners: Sequence[str], tasks: Sequence[int | None]) -> list[Context]:
    return [Context(owner, task, tokens) for owner, task, tokens in zip(owners, tasks, contexts.detach().float().cpu())]


def _classes(trainer: PromptTrainer) -> tuple[list[str], list[int]]:
    """The owner of each class's context, with the task's name if there are several, and the task's index."""
    several = len(trainer.tasks) > 1
    names = [
        (t, f"{task.name}: {name}" if several else name)
        for t, task in enumerate(trainer.tasks)
        for name in task.classnames
    ]
    return [name for _, name in names], [t for t, _ in names]


def _instead(trainer: PromptTrainer) -> str:
    """What a method without contexts has learned."""
    learned = [name for name, _ in trainer.learned.named_parameters()]
    if not learned:
        return "its prompts are hand-made words, and nothing of them is learned"
    more = f" and {len(learned) - 4} more" if len(learned) > 4 else ""
    return f"it learns {', '.join(learned[:4])}{more}, none of which is the context of a prompt"


@torch.no_grad()
def task_features_of(trainer: PromptTrainer) -> Tensor | None:
    """SoftCPT's task features f_t (T, E); None for a method or variant without them."""
    prompts = trainer.learned
    if not isinstance(prompts, SoftContextSharing):
        return None
    with trainer.autocast():
        features = prompts.task_features_of(torch.arange(len(trainer.tasks), device=trainer.device))
    return None if features is None else features.float().cpu()


def task_contexts(contexts: Sequence[Context], n_tasks: int) -> Tensor | None:
    """(T, M D): the mean context of each task, flattened; None if a context belongs to all tasks."""
    if any(context.task is None for context in contexts):
        return None
    own = [[c.tokens.flatten() for c in contexts if c.task == task] for task in range(n_tasks)]
    return torch.stack([torch.stack(some).mean(0) for some in own])


def cosines(x: Tensor) -> Tensor:
    """(N, N): the cosine similarities of the rows of x (N, K)."""
    x = torch.nn.functional.normalize(x.double(), dim=1)
    return x @ x.T


class Vocabulary:
    """The tokens of a CLIP whose embedding is known, without [SOS] and [EOS].

    Attributes:
        ids: (V,) token ids; a file of weights may hold the rows of some tokens only.
        embedding: (V, D).
    """

    def __init__(self, model: CLIP) -> None:
        self.tokenizer, weight = model.tokenizer, model.text.token_embedding.weight.detach().float().cpu()
        known = weight.abs().sum(1) > 0
        known[[*self.tokenizer.sos, *self.tokenizer.eos]] = False
        self.ids = known.nonzero().squeeze(1)
        self.embedding = weight[self.ids]
        word = self.tokenizer.encode("dog")
        self.marks_ends = self.tokenizer.decode(word).endswith(" ")  # as byte pairs do

    def word(self, index: int) -> str:
        """The text of a token, with a dash if it does not end a word."""
        text = self.tokenizer.decode([int(self.ids[index])])
        return text.strip() if text.endswith(" ") or not self.marks_ends else f"{text}-"

    @torch.no_grad()
    def nearest(self, tokens: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Euclidean distances (M, k) and indices (M, k) of the words nearest to tokens (M, D), nearest first."""
        k = min(k, len(self.ids))
        found = []
        for some in tokens.split(AT_A_TIME):
            # By differences: with matrix products the distance of a word to itself would not be 0.
            distance = torch.cdist(some, self.embedding, compute_mode="donot_use_mm_for_euclid_dist")
            found.append(distance.topk(k, dim=1, largest=False))
        distances, indices = (torch.cat(parts) for parts in zip(*found))
        return distances, indices

    def typical_distance(self) -> float:
        """The median distance of a word to its nearest neighbour, over words at even steps through the vocabulary."""
        step = max(1, len(self.ids) // SAMPLED)
        distances, _ = self.nearest(self.embedding[::step], 2)
        return distances[:, -1].median().item()
