"""The drawn offline benchmark: seven small tasks in one sketchy style, made by `python scripts/demo/render.py`."""

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset, declare
from .multitask import MultiTask, TaskSpec

TASKS = (  # name, the task in words, prompt, content
    ("Shape", "outline shape recognition", "a photo of a {}.", "12 shapes, sketched in any colour and texture."),
    ("Colour", "bright ink colour recognition", "a photo of a {} object.", "10 colours of objects of any shape."),
    ("Texture", "surface texture recognition", "a photo of a {} texture.", "7 fill patterns of shapes of any colour."),
    ("Count", "counting the number of objects", "a photo of {} objects.", "One to five equal objects."),
    ("Background", "background scene recognition", "a photo of a {} scene.", "7 scenes behind objects of any kind."),
    ("Handwriting", "handwritten digit recognition", "a photo of the number {}.", "10 digits, scanned and inked."),
    ("Sign", "coloured road sign recognition", "a photo of a {} sign.", "10 road signs: pairs of colour and shape."),
)

for _name, _task_name, _template, _contents in TASKS:
    declare(
        SplitDataset,
        f"Demo{_name}",
        __name__,
        _contents,
        dataset_dir=f"demo/{_name.lower()}",
        task_name=_task_name,
        template=_template,
        how_to_get="Draw it with: python scripts/demo/render.py --out <data root>/demo",
    )


@DATASET_REGISTRY.register()
class Demo(MultiTask):
    """All seven tasks."""

    specs = tuple(TaskSpec(f"Demo{name}") for name, *_ in TASKS)
