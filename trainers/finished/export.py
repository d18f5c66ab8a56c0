"""Exporting a run: its heads, and its changes to the image tower."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from softcpt.backbones import Head
from softcpt.backbones.config import Preprocessing
from softcpt.backbones.precision import Precision
from softcpt.evaluation.classes import classes_of, selection_in
from softcpt.evaluation.provenance import git_commit, software_versions
from softcpt.files.texts import plain
from softcpt.inference import Classifier, Export
from softcpt.inference.tower import TunedTower
from trainers import PromptTrainer


@torch.no_grad()
def export_of(trainer: PromptTrainer, run: Path, heads: Sequence[Head] | None = None, **provenance: Any) -> Export:
    """The export of a run.

    Args:
        heads: used with the unchanged image tower in place of the trainer's own.
        provenance: added to that of the run.

    Raises ValueError, with the reason, for a method or setting that cannot be exported.
    """
    weights: dict[str, torch.Tensor] = {}
    prompts: list[torch.Tensor] = []
    projection = None
    own = trainer.heads() if heads is None else list(heads)
    if heads is None:
        weights, prompts = tuned_weights(trainer)
        projection = trainer.image_projection()
    name = trainer.cfg.MODEL.BACKBONE.NAME
    export = Export(
        tasks=classes_of(trainer.tasks),
        heads=own,
        preprocessing=preprocessing_of(trainer.cfg),
        backbone={"name": name, "sha256": trainer.clip.source["sha256"], "image_digest": trainer.clip.image_digest},
        precision=trainer.precision.name,
        upright=trainer.cfg.INPUT.UPRIGHT,
        weights=weights,
        prompts=prompts,
        projection=projection,
        provenance={
            "trainer": type(trainer).__name__,
            "variant": trainer.cfg.TRAINER.LABEL or trainer.variant,
            "shots": trainer.cfg.DATASET.NUM_SHOTS if trainer.uses_shots else 0,
            "seed": trainer.cfg.SEED,
            "dataset": selection_in(run).get("NAME", ""),
            "run": plain(run),
            "commit": git_commit(),
            "versions": software_versions(),
            **provenance,
        },
    )
    check_export(trainer, export, None if heads is None else list(heads))
    return export


def tuned_weights(trainer: PromptTrainer) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """The weights of the image tower that training changes, merged, and the prompts of its layers."""
    with trainer.autocast():
        tuning = trainer.tuning("image")
    visual: Any = trainer.clip.visual
    weights = {}
    updates: Sequence[Any] = tuning.updates  # of methods that tune images: with `merged`
    for i, update in enumerate(updates):
        for name, part in visual.attention_weights(i).items():
            weights[name] = update.merged(visual.get_parameter(name), part)
    return weights, [prompt.detach().float() for prompt in tuning.prompts]


def preprocessing_of(cfg: CfgNode) -> Preprocessing:
    """The test preprocessing of a run. Raises ValueError if it is not a resize and a normalisation."""
    options = cfg.INPUT
    if options.NO_TRANSFORM or "instance_norm" in options.TRANSFORMS:
        key = "NO_TRANSFORM" if options.NO_TRANSFORM else "TRANSFORMS: instance_norm"
        raise ValueError(f"INPUT.{key}: an export can only resize images and normalise them by a mean and deviation")
    raw = "normalize" not in options.TRANSFORMS
    mean, std = ((0.0,) * 3, (1.0,) * 3) if raw else (tuple(options.PIXEL_MEAN), tuple(options.PIXEL_STD))
    return Preprocessing(tuple(options.SIZE), mean, std, options.INTERPOLATION, options.RESIZE)


@torch.no_grad()
def check_export(trainer: PromptTrainer, export: Export, heads: list[Head] | None, images: int = 4) -> float:
    """The largest difference between the export's and the trainer's probabilities on random images.

    Raises ValueError if they differ, because the method's `head` does not compute what its `class_logits` computes.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(images, 3, *export.preprocessing.size, generator=generator).to(trainer.device)
    visual = copy.deepcopy(trainer.clip.visual) if export.weights else trainer.clip.visual  # it is written to
    classifier = Classifier(export, TunedTower(visual, export), Precision(export.precision, trainer.device))
    features, worst = classifier.features(image), 0.0
    with trainer.autocast():
        x, class_features = trainer.image_features(image), trainer.class_features()
        for t, name in enumerate(classifier.tasks):
            if heads is not None:
                expected = heads[t](trainer.clip.encode_image(image))
            else:
                expected = trainer.class_logits(x, class_features)[:, trainer.class_task == t]
            difference = classifier.logits(features, name).softmax(1) - expected.float().softmax(1)
            worst = max(worst, difference.abs().max().item())
    if not worst < 1e-3:
        raise ValueError(
            f"{type(trainer).__name__} is not exported: the export's probabilities differ from its own by {worst:.1e}; "
            "a method that overrides `logits` or `class_logits` must override `head`, too"
        )
    return worst
