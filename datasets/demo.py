"""The drawn offline benchmark: seven small tasks in one sketchy style, made by `python scripts/demo/render.py`."""

from dassl.data.datasets import DATASET_REGISTRY

from .base import SplitDataset
from .multitask import MultiTask, TaskSpec

HOW_TO_GET = "Draw it with: python scripts/demo/render.py --out <data root>/demo"


@DATASET_REGISTRY.register()
class DemoShape(SplitDataset):
    """12 shapes, sketched in any colour and texture."""

    dataset_dir = "demo/shape"
    task_name = "outline shape recognition"
    template = "a photo of a {}."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class DemoColour(SplitDataset):
    """10 colours of objects of any shape."""

    dataset_dir = "demo/colour"
    task_name = "bright ink colour recognition"
    template = "a photo of a {} object."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class DemoTexture(SplitDataset):
    """7 fill patterns of objects of any shape and colour."""

    dataset_dir = "demo/texture"
    task_name = "surface texture recognition"
    template = "a photo of a {} texture."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class DemoCount(SplitDataset):
    """One to five objects, all alike."""

    dataset_dir = "demo/count"
    task_name = "counting the number of objects"
    template = "a photo of {} objects."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class DemoBackground(SplitDataset):
    """7 scenes behind objects of any kind."""

    dataset_dir = "demo/background"
    task_name = "background scene recognition"
    template = "a photo of a {} scene."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class DemoHandwriting(SplitDataset):
    """The 10 digits, handwritten: scikit-learn's scans (E. Alpaydin, C. Kaynak, UCI, 1998), inked and toned."""

    dataset_dir = "demo/handwriting"
    task_name = "handwritten digit recognition"
    template = "a photo of the number {}."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class DemoSign(SplitDataset):
    """10 road signs, told apart by colour and shape together."""

    dataset_dir = "demo/sign"
    task_name = "coloured road sign recognition"
    template = "a photo of a {} sign."
    how_to_get = HOW_TO_GET


@DATASET_REGISTRY.register()
class Demo(MultiTask):
    """All seven tasks."""

    specs = (
        TaskSpec("DemoShape"),
        TaskSpec("DemoColour"),
        TaskSpec("DemoTexture"),
        TaskSpec("DemoCount"),
        TaskSpec("DemoBackground"),
        TaskSpec("DemoHandwriting"),
        TaskSpec("DemoSign"),
    )
