"""One labelled image, and a data set as four lists of them."""

import logging
import os
import random
from collections import defaultdict
from collections.abc import Sequence

__all__ = ["DatasetBase", "Datum"]

logger = logging.getLogger(__name__)


class Datum:
    """One image file with its labels.

    Args:
        impath: path of an existing file.
        label: class index.
        domain: domain index.
        classname: name of the class.

    Raises TypeError for a path that is no string and FileNotFoundError for a missing file.
    """

    def __init__(self, impath: str = "", label: int = 0, domain: int = 0, classname: str = "") -> None:
        if not isinstance(impath, str):
            raise TypeError(f"Datum.impath must be a str, got {type(impath).__name__}: {impath!r}")
        if not os.path.isfile(impath):  # about 2 microseconds each on a local disk
            raise FileNotFoundError(f'No image file at "{impath}" (class {classname!r}, label {label})')
        # Upstream's attribute names: few-shot caches of CoOp pickle these objects.
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    @property
    def impath(self) -> str:
        return self._impath

    @property
    def label(self) -> int:
        return self._label

    @property
    def domain(self) -> int:
        return self._domain

    @property
    def classname(self) -> str:
        return self._classname

    def __repr__(self) -> str:
        return f"Datum({self._impath!r}, label={self._label}, domain={self._domain}, classname={self._classname!r})"


class DatasetBase:
    """Lists of Datum objects for training, validation and testing; the classes are those of `train_x`.

    Args:
        train_x: labelled training images.
        train_u: unlabelled training images, if any.
        val: validation images, if any.
        test: test images.

    Raises ValueError when a class has no training image: its name would be unknown and later names would shift.
    """

    dataset_dir = ""  # folder below cfg.DATASET.ROOT
    domains: Sequence[str] = []  # names of all domains, where a data set has several

    def __init__(
        self,
        train_x: list[Datum] | None = None,
        train_u: list[Datum] | None = None,
        val: list[Datum] | None = None,
        test: list[Datum] | None = None,
    ) -> None:
        if not train_x:
            raise ValueError(f"{type(self).__name__}: train_x is empty")
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x)
        self._lab2cname, self._classnames = self.get_lab2cname(train_x)
        if len(self._classnames) != self._num_classes:
            # No more numbers are looked at than there are labels, whatever their values.
            end = min(self._num_classes, len(self._classnames) + 10)
            missing = [label for label in range(end) if label not in self._lab2cname]
            raise ValueError(
                f"{type(self).__name__}: no training image has the label(s) {missing}; the largest is "
                f"{self._num_classes - 1}"
            )

    @property
    def train_x(self) -> list[Datum]:
        return self._train_x

    @property
    def train_u(self) -> list[Datum] | None:
        return self._train_u

    @property
    def val(self) -> list[Datum] | None:
        return self._val

    @property
    def test(self) -> list[Datum] | None:
        return self._test

    @property
    def lab2cname(self) -> dict[int, str]:
        return self._lab2cname

    @property
    def classnames(self) -> list[str]:
        return self._classnames

    @property
    def num_classes(self) -> int:
        return self._num_classes

    @staticmethod
    def get_num_classes(data_source: list[Datum]) -> int:
        """The largest label plus one."""
        return max(item.label for item in data_source) + 1

    @staticmethod
    def get_lab2cname(data_source: list[Datum]) -> tuple[dict[int, str], list[str]]:
        """The mapping from label to class name, and the names in the order of their labels.

        A label with several names keeps the first one, and that is logged.
        """
        names: dict[int, str] = {}
        for item in data_source:
            first = names.setdefault(item.label, item.classname)
            if first != item.classname:
                logger.warning("label %d is named %r and %r; %r is used", item.label, first, item.classname, first)
        mapping = {label: names[label] for label in sorted(names)}
        return mapping, list(mapping.values())

    def check_input_domains(self, source_domains: Sequence[str], target_domains: Sequence[str]) -> None:
        """Raise ValueError unless both lists are non-empty and name domains of this data set."""
        for key, names in (("SOURCE_DOMAINS", source_domains), ("TARGET_DOMAINS", target_domains)):
            if len(names) == 0:
                raise ValueError(f"DATASET.{key} is empty; choose from {list(self.domains)}")
            self.is_input_domain_valid(names)

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        """Raise ValueError when a name is not a domain of this data set."""
        for domain in input_domains:
            if domain not in self.domains:
                raise ValueError(f"{type(self).__name__}: unknown domain {domain!r}; choose from {list(self.domains)}")

    def generate_fewshot_dataset(
        self,
        *data_sources: list[Datum],
        num_shots: int = -1,
        repeat: bool = False,
        rng: random.Random | None = None,
    ):
        """Draw `num_shots` images per class from each list, classes in the order of their first image.

        Args:
            num_shots: below 1 returns the lists as they are.
            repeat: a smaller class is filled by drawing with replacement; otherwise all of its images are used, and
                that is logged.
            rng: generator of the draws; default: the module `random`, as upstream.

        Returns:
            The drawn list, or a list of them when there are several sources.
        """
        rng = rng or random
        outputs = []
        for source in data_sources if num_shots >= 1 else ():
            drawn = []
            for label, items in self.split_dataset_by_label(source).items():
                if len(items) >= num_shots:
                    items = rng.sample(items, num_shots)
                elif repeat:
                    items = rng.choices(items, k=num_shots)
                else:
                    name = items[0].classname
                    logger.warning(
                        "class %d (%s): %d images for %d shots, all used", label, name, len(items), num_shots
                    )
                drawn.extend(items)
            outputs.append(drawn)
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources
        logger.info("Drew a %d-shot dataset: %s images", num_shots, [len(drawn) for drawn in outputs])
        return outputs[0] if len(outputs) == 1 else outputs

    def split_dataset_by_label(self, data_source: list[Datum]) -> dict[int, list[Datum]]:
        """Group by label, in the order of first appearance."""
        groups = defaultdict(list)
        for item in data_source:
            groups[item.label].append(item)
        return groups

    def split_dataset_by_domain(self, data_source: list[Datum]) -> dict[int, list[Datum]]:
        """Group by domain, in the order of first appearance."""
        groups = defaultdict(list)
        for item in data_source:
            groups[item.domain].append(item)
        return groups
