"""Where the data sets come from: archives that can be fetched, and what to do where a person must go.

Addresses and MD5 sums are those of torchvision, torchgeo, CoOp's DATASETS.md and the data sets' own pages.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """A file to fetch.

    url: its address. gives: a pattern below the data set's folder that is there once it was unpacked.
    md5: its sum, where one is published. file: a file to keep under this name; empty: an archive to unpack.
    prefix: the folder in the archive whose contents are wanted. to: where they go, below the data set's folder.
    inner: an archive in the archive, unpacked in its place.
    """

    url: str
    gives: str
    md5: str = ""
    file: str = ""
    prefix: str = ""
    to: str = ""
    inner: str = ""


@dataclass(frozen=True)
class Source:
    """What can be fetched of a data set, and, where that is not all, what to do by hand."""

    archives: tuple[Archive, ...] = ()
    by_hand: str = ""


def drive(number: str) -> str:
    """The address of a public file on Google Drive, without the page that asks for confirmation."""
    return f"https://drive.usercontent.google.com/download?id={number}&export=download&confirm=t"


def split(name: str, number: str) -> Archive:
    """CoOp's split file of a data set."""
    file = f"split_zhou_{name}.json"
    return Archive(drive(number), gives=file, file=file)


OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
HUB = "https://huggingface.co/datasets"
CLASSNAMES = Archive(drive("1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF"), gives="classnames.txt", file="classnames.txt")
MENDELEY = "https://data.mendeley.com/public-files/datasets/tywbtsjrjv/files"
FASHION = (
    "The authors publish it on Baidu only: https://pan.baidu.com/s/1ITXWaRVVXi1PLnbXVa_kjA?pwd=67c4 (code 67c4). "
    "Unpack it so that there are fashion20/images/<task>/<class>/*.jpg and fashion20/task_info.csv."
)

SOURCES: dict[str, Source] = {
    "Caltech101": Source(
        (
            Archive(
                "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                gives="101_ObjectCategories/*/*.jpg",
                md5="3138e1922a9193bfa496528edbbc45d0",
                prefix="caltech-101",
                inner="101_ObjectCategories.tar.gz",
            ),
            split("Caltech101", "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN"),
        )
    ),
    "DescribableTextures": Source(
        (
            Archive(
                f"{OXFORD}/dtd/download/dtd-r1.0.1.tar.gz",
                gives="images/*/*.jpg",
                md5="fff73e5086ae6bdbea199a49dfb8a4c1",
                prefix="dtd",
            ),
            split("DescribableTextures", "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x"),
        )
    ),
    "EuroSAT": Source(
        (
            Archive(
                f"{HUB}/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                gives="2750/*/*.jpg",
                md5="c8fa014336c82ac7804f0398fcb19387",
            ),
            split("EuroSAT", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o"),
        )
    ),
    "FGVCAircraft": Source(
        (
            Archive(
                f"{OXFORD}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
                gives="images/*.jpg",
                prefix="fgvc-aircraft-2013b/data",
            ),
        )
    ),
    "Food101": Source(
        (
            Archive(
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                gives="images/*/*.jpg",
                md5="85eeb15f3717b99a5da872d97d918f87",
                prefix="food-101",
            ),
            split("Food101", "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl"),
        )
    ),
    "OxfordFlowers": Source(
        (
            Archive(f"{OXFORD}/flowers/102/102flowers.tgz", gives="jpg/*.jpg", md5="52808999861908f626f3c1f4e79d11fa"),
            Archive(
                f"{OXFORD}/flowers/102/imagelabels.mat",
                gives="imagelabels.mat",
                md5="e0620be6f572b9609742df49c70aed4d",
                file="imagelabels.mat",
            ),
            Archive(drive("1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0"), gives="cat_to_name.json", file="cat_to_name.json"),
            split("OxfordFlowers", "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT"),
        )
    ),
    "OxfordPets": Source(
        (
            Archive(f"{OXFORD}/pets/data/images.tar.gz", gives="images/*.jpg", md5="5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            Archive(
                f"{OXFORD}/pets/data/annotations.tar.gz",
                gives="annotations/*.txt",
                md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            ),
            split("OxfordPets", "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs"),
        )
    ),
    "StanfordCars": Source(
        (split("StanfordCars", "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT"),),
        "The official links (ai.stanford.edu/~jkrause) are dead. Alternatives: the steps collected in "
        "https://github.com/pytorch/vision/issues/7545 (images and devkit from Kaggle, "
        "jessicali9530/stanford-cars-dataset; cars_test_annos_withlabels.mat from copies of the original), or a copy "
        "from somebody who has it. The split file names cars_train/*.jpg and cars_test/*.jpg: with it and these two "
        "folders nothing else is needed. Copies that are sorted into folders of classes do not fit.",
    ),
    "SUN397": Source(
        (split("SUN397", "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq"),),
        "The official links (vision.princeton.edu/projects/2010/SUN: images and partitions) are dead or unreliable. "
        "Alternatives: SUN397.tar.gz (MD5 8ca2778205c41d23104230ba66911c7a) from its copies on Hugging Face "
        "(HuggingFaceM4/sun397, tanganke/sun397) or in TensorFlow Datasets (sun397), or from somebody who has it; "
        "file names must be the original ones. With SUN397/ and the split file nothing else is needed.",
    ),
    "UCF101": Source(
        (
            Archive(drive("10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O"), gives="UCF-101-midframes/*/*.jpg"),
            split("UCF101", "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y"),
        )
    ),
    "ImageNet": Source(
        (CLASSNAMES,),
        "The images need an account: https://image-net.org (ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar). Unpack "
        "them to imagenet/images/train/<id>/ and imagenet/images/val/<id>/, or link what you have there.",
    ),
    "ImageNetV2": Source(
        (
            Archive(
                f"{HUB}/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
                gives="imagenetv2-matched-frequency-format-val/*/*",
            ),
            CLASSNAMES,
        )
    ),
    "ImageNetSketch": Source(
        (
            Archive(
                f"{HUB}/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",
                gives="images/*/*",
                prefix="sketch",
                to="images",
            ),
            CLASSNAMES,
        )
    ),
    "ImageNetA": Source(
        (
            Archive(
                "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
                gives="imagenet-a/*/*",
                md5="c3e55429088dc681f30d81f4726b6595",
            ),
            CLASSNAMES,
        )
    ),
    "ImageNetR": Source(
        (
            Archive(
                "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
                gives="imagenet-r/*/*",
                md5="a61312130a589d0ca1a8fca1f2bd3337",
            ),
            CLASSNAMES,
        )
    ),
    "FruitVegetable": Source(
        by_hand="Kaggle needs an account: kritikseth/fruit-and-vegetable-image-recognition. Unpack train, validation "
        "and test into fruit_vegetable/images/."
    ),
    "KaggleFlower": Source(
        by_hand="Kaggle needs an account: alxmamaev/flowers-recognition. Unpack it to "
        "kaggle_flower_recognition/flowers/."
    ),
    "KaggleMushroom": Source(
        by_hand="Kaggle needs an account: maysee/mushrooms-classification-common-genuss-images. Unpack it to "
        "kaggle_mushroom/Mushrooms/ (the archive holds the folder twice, one in the other: keep one)."
    ),
    "KaggleVegetable": Source(
        by_hand="Kaggle needs an account: misrakahmed/vegetable-image-dataset. Unpack train, validation and test into "
        "kaggle_vegetable/images/."
    ),
    "PlantSeedlingV1": Source(
        (
            Archive(
                "https://vision.eng.au.dk/?download=/data/WeedData/Nonsegmented.zip",
                gives="Nonsegmented/*/*.png",
                prefix="Nonsegmented",
                to="Nonsegmented",
            ),
        )
    ),
    "PlantVillage": Source(
        (
            Archive(
                f"{MENDELEY}/d5652a28-c1d8-4b76-97f3-72fb80f94efc/file_downloaded",
                gives="Plant_leave_diseases_dataset_without_augmentation/*/*",
            ),
        )
    ),
    "AID": Source(
        by_hand="The authors' page https://captain-whu.github.io/AID/ links to OneDrive and Baidu. Unpack it so that "
        "there are aid/AID/<Class>/*.jpg."
    ),
    "RESISC45": Source(
        (
            Archive(
                f"{HUB}/torchgeo/resisc45/resolve/a826b44d938a883185f11ebe3d512d38b464312f/NWPU-RESISC45.zip",
                gives="NWPU-RESISC45/*/*.jpg",
                md5="75206b2e16446591afa88e2628744886",
            ),
        )
    ),
    "UCMerced": Source(
        (
            Archive(
                f"{HUB}/torchgeo/ucmerced/resolve/main/UCMerced_LandUse.zip",
                gives="UCMerced_LandUse/Images/*/*.tif",
                md5="5b7ec56793786b6dc8a908e8854ac0e4",
            ),
        )
    ),
    "WHURS19": Source(
        by_hand="The authors' page https://captain-whu.github.io/BED4RS/ links to it. Unpack it so that there are "
        "whu_rs19/WHU-RS19/<Class>/*.jpg."
    ),
    "RSSCN7": Source(
        (
            Archive(
                "https://github.com/palewithout/RSSCN7/archive/refs/heads/master.zip",
                gives="RSSCN7/*/*.jpg",
                prefix="RSSCN7-master",
                to="RSSCN7",
            ),
        )
    ),
    "OPTIMAL31": Source(
        by_hand="The authors' page (crabwq.github.io) links to Google Drive and Baidu. Unpack it so that there are "
        "optimal31/Images/<class>/*.jpg."
    ),
    "RSICB128": Source(
        by_hand="The authors' page https://github.com/lehaifeng/RSI-CB links to OneDrive and Baidu. Unpack it so that "
        "there are rsi_cb128/RSI-CB128/<group>/<class>/*.tif."
    ),
}


def source_of(name: str) -> Source:
    """The source of a data set; of a task of Fashion-20, that of all of it."""
    return Source(by_hand=FASHION) if name.startswith("Fashion") else SOURCES.get(name, Source())
