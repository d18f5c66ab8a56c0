"""Losses, and the steps within them, as pure functions of tensors."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from softcpt.placement import on_cpu, on_host, to_device

READ_EVERY = 10  # of Sinkhorn's iterations on a GPU: whether they have stopped


def multitask_cross_entropy(logits: Tensor, label: Tensor, class_task: Tensor, classes: Tensor | None = None) -> Tensor:
    """Cross-entropy of each sample over the classes of its own task, averaged over the joint batch (SoftCPT, Eq. 8).

    Args:
        logits: (B, R) of `classes`.
        label: (B,) global class labels, each of them among `classes`.
        class_task: (C,) the task of every class.
        classes: (R,) sorted class labels of the logits' columns; None for all C.

    Returns:
        a scalar.
    """
    column = label if classes is None else torch.searchsorted(classes, label)
    return F.cross_entropy(within_task(logits, label, class_task, classes), column)


def within_task(logits: Tensor, label: Tensor, class_task: Tensor, classes: Tensor | None = None) -> Tensor:
    """The logits (B, R), with -inf at the classes of all tasks but the sample's own, so that their softmax is over the
    own task; arguments as above."""
    column_task = class_task if classes is None else class_task[classes]
    foreign = column_task.unsqueeze(0) != class_task[label].unsqueeze(1)  # (B, R)
    return logits.masked_fill(foreign, -math.inf)


def classes_of_present_tasks(label: Tensor, class_task: Tensor) -> Tensor:
    """(R,) sorted labels of all classes of the tasks that occur in `label` (B,); other classes get no gradient."""
    task = on_host(class_task)
    present = torch.zeros(int(task[-1]) + 1, dtype=torch.bool)
    present[task[on_host(label)]] = True
    return to_device(present[task].nonzero().squeeze(1), class_task.device)


def sample_classes(classes: Tensor, label: Tensor, class_task: Tensor, rate: float) -> Tensor:
    """SoftCPT's class sampling, which bounds the memory of a step: of the candidates `classes`, all that occur in the
    batch, and at random ceil(rate x n) of the n other classes of each task.

    Args:
        classes: (R,) sorted candidate labels.
        label: (B,) labels of the batch, all among `classes`.
        class_task: (C,) the task of every class.
        rate: in (0, 1].

    Returns:
        (R',) sorted labels.
    """
    device, (classes, label, class_task) = class_task.device, map(on_host, (classes, label, class_task))
    positive = torch.zeros_like(class_task, dtype=torch.bool)
    positive[label] = True
    kept = [classes[positive[classes]]]
    negative = classes[~positive[classes]]
    for task in class_task[negative].unique():
        candidates = negative[class_task[negative] == task]
        chosen = torch.randperm(len(candidates))[: math.ceil(rate * len(candidates))]
        kept.append(candidates[chosen])
    return to_device(torch.cat(kept).sort().values, device)


def knowledge_distance(text_features: Tensor, teacher_features: Tensor) -> Tensor:
    """1 - mean cosine between the learned and the hand-made features of the classes, both (R, E): KgCoOp's L_kg.

    This is half the mean squared distance of the normalised features, which the paper has.
    """
    return 1 - F.cosine_similarity(text_features.float(), teacher_features.float(), dim=-1).mean()


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """-T^2 mean_b sum_c p_bc log q_bc with p, q the softmax of teacher's and student's logits (B, R) at temperature T
    (ProGrad's L_kl up to the teacher's entropy, which has no gradient). Classes at -inf in both are left out.
    """
    log_q = F.log_softmax(logits / temperature, dim=1)
    p = F.softmax(teacher_logits / temperature, dim=1)
    return -(temperature**2) * (p * log_q.masked_fill(p == 0, 0)).sum(1).mean()


def agreement_divergence(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """mean_b (1 / C_b) sum_c p_bc (log p_bc - log q_bc) with p, q the softmax of teacher's and student's logits (B, R)
    and C_b the number of classes that are not at -inf in both (PromptSRC's L_SCL-logits; its code divides by B C).
    """
    log_p, log_q = F.log_softmax(teacher_logits, dim=1), F.log_softmax(logits, dim=1)
    counts = teacher_logits > -math.inf
    terms = (log_p.exp() * (log_p - log_q)).masked_fill(~counts, 0)
    return (terms.sum(1) / counts.sum(1)).mean()


def project_conflicting(gradient: Tensor, general: Tensor, strength: float = 1.0) -> Tensor:
    """`gradient` without its component against `general`, both of one shape: ProGrad's G_prograd.

    If their inner product is negative, `strength` times the projection of `gradient` on `general` is subtracted;
    otherwise, and for a zero `general`, `gradient` is returned unchanged.
    """
    u = general / general.norm().clamp(min=torch.finfo(general.dtype).tiny)
    return gradient - strength * (gradient * u).sum().clamp(max=0) * u


@torch.no_grad()
def sinkhorn(similarity: Tensor, epsilon: float = 0.1, threshold: float = 1e-2, max_iterations: int = 100) -> Tensor:
    """Entropic transport plans T* (..., L, N) between L image tokens and N prompts, with uniform marginals and the cost
    1 - similarity (Cuturi, NeurIPS 2013; PLOT's inner loop), without gradient.

    All problems stop iterating together, when the mean change of the row scalings is below `threshold`.

    Args:
        similarity: (..., L, N), cosines in fp32.
        epsilon: weight of the entropy. Below 0.025 the kernel exp(-2 / epsilon) of opposite vectors underflows.
    """
    kernel = ((similarity - 1) / epsilon).exp()  # K
    n_tokens, n_prompts = similarity.shape[-2:]
    r, c = torch.ones_like(kernel[..., 0]), torch.ones_like(kernel[..., 0, :])  # (..., L), (..., N)
    stopped = torch.zeros((), dtype=torch.bool, device=similarity.device)
    for i in range(max_iterations):
        next_r = 1 / n_tokens / (kernel * c.unsqueeze(-2)).sum(-1)
        next_c = 1 / n_prompts / (kernel * next_r.unsqueeze(-1)).sum(-2)
        small = (next_r - r).abs().mean() < threshold
        if on_cpu(similarity):
            r, c, stopped, read = next_r, next_c, small, True
        else:  # what has stopped stays as it is, so that the host need not read at each iteration whether it has
            r, c = torch.where(stopped, r, next_r), torch.where(stopped, c, next_c)
            stopped, read = stopped | small, (i + 1) % READ_EVERY == 0
        if read and stopped:
            break
    return r.unsqueeze(-1) * kernel * c.unsqueeze(-2)
