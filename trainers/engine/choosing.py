"""What a run chooses on validation images: the epoch that is kept, and settings that its method searches.

Chosen on test images, the accuracy there would say nothing. This is refused before training, for every method.
"""

import logging
import os
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """Something that is chosen on validation images.

    Attributes:
        what: says so: "LinearProbe searches C".
        instead: what the user can do without such images.
        needs: for which tasks there must be images: "each", "any", or "none" if the choice has a default.
    """

    what: str
    instead: str
    needs: str = "each"


BEST = Choice("TEST.FINAL_MODEL best_val chooses the epoch", "set TEST.FINAL_MODEL last_step", "any")


def choices_of(trainer: Any) -> list[Choice]:
    """What a run of `trainer` chooses."""
    options = trainer.cfg.TEST
    best = trainer.learns_by_gradient and options.FINAL_MODEL == "best_val" and not options.NO_TEST
    return [choice for choice in (BEST if best else None, trainer.searched) if choice]


def chosen_on(trainer: Any) -> str:
    """The part of the data on which the model of a run is chosen: "val", or "" if nothing is."""
    return "val" if trainer.dm.dataset.val and choices_of(trainer) else ""


def check_choices(trainer: Any) -> None:
    """Raise ValueError if validation images that a run needs are missing, or some of them are test images."""
    data, tasks = trainer.dm.dataset, trainer.tasks
    check_split(trainer.cfg, data)
    shared = shared_images(data)
    there = {int(trainer.class_task[item.label]) for item in data.val or ()}
    missing = [task.name for t, task in enumerate(tasks) if t not in there]
    for what, instead, needs in choices_of(trainer):
        if shared:
            raise ValueError(
                f"{what} on validation shots, but {len(shared)} of them are test images (say {shared[0]}): {instead}"
            )
        if needs == "each" and missing or needs == "any" and not there:
            raise ValueError(
                f"{what} on validation shots, and there are none for {', '.join(missing)}: give the data set "
                f"validation images, or {instead}"
            )
    if trainer.cfg.TEST.SPLIT == "val" and chosen_on(trainer):
        what = " and ".join(choice.what for choice in choices_of(trainer))
        logger.warning("Warning: %s on the images of the test, TEST.SPLIT val: its accuracy is too high", what)


def shared_images(data: Any) -> list[str]:
    """The validation images of a data set that are also test images."""
    test = {os.path.normpath(item.impath) for item in data.test}
    return [item.impath for item in data.val or () if os.path.normpath(item.impath) in test]


def check_split(cfg: Any, data: Any) -> None:
    """Raise ValueError if TEST.SPLIT names validation images that are not there; Dassl would test on the others."""
    if cfg.TEST.SPLIT == "val" and not data.val:
        raise ValueError(f"TEST.SPLIT: val, but {cfg.DATASET.NAME} has no validation images; set TEST.SPLIT test")
