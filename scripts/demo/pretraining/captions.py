"""Captions of the drawn scenes, and the words they are made of.

Most words for a thing are common; the last in each entry is rare. Some words are ambiguous: "sand" is a background, a
colour or a texture, "three" a digit or a count. The benchmark uses rare and ambiguous words as class names, and the
words of its task names occur in captions of many different pictures. So tuning has to adapt the tiny CLIP to wording
as well as to drawing style.
"""

import random

from scripts.demo.scenes import Scene

RARE = 0.01  # how often the last word is used
SHAPE = {
    "circle": "circle|round shape|disc",
    "square": "square|box|tile",
    "triangle": "triangle|three sided shape|wedge",
    "star": "star|starry shape|asterisk",
    "heart": "heart|love heart|valentine",
    "cross": "cross|plus sign|plus",
    "crescent": "moon|crescent moon|crescent",
    "arrow": "arrow|pointer|dart",
    "pentagon": "pentagon|five sided shape|gem",
    "rhombus": "rhombus|lozenge|diamond",
    "ring": "ring|hoop|donut",
    "semicircle": "semicircle|half circle|dome",
}
COLOUR = {
    "red": "red|crimson",
    "orange": "orange|amber",
    "yellow": "yellow|lemon",
    "green": "green|emerald",
    "blue": "blue|azure",
    "purple": "purple|violet",
    "pink": "pink|rose",
    "brown": "brown|chocolate",
    "black": "black|ebony",
    "grey": "grey|gray|silver",
}
TEXTURE = {
    "plain": "plain|solid|uniform|flat",
    "striped": "striped|lined|banded",
    "dotted": "dotted|spotted|polka dot",
    "checked": "checked|checkered|chessboard",
    "grid": "grid|netted|meshed",
    "wavy": "wavy|waved|rippled",
    "speckled": "speckled|noisy|grainy",
}
BACKGROUND = {
    "night": "night|dark night|midnight",
    "sky": "sky|cloudy sky|clouds",
    "grass": "grass|lawn|meadow",
    "brick": "brick|brick wall|masonry",
    "sand": "sand|beach|desert",
    "wood": "wood|wooden board|timber",
    "water": "water|sea|ocean",
    "paper": "paper|white paper|page",
}
BORROWED = {  # words for backgrounds that also name a colour or a texture
    "red": "brick",
    "yellow": "sand",
    "green": "grass",
    "blue": "sky",
    "brown": "wood",
    "black": "night",
    "wavy": "water",
    "speckled": "sand",
    "grid": "brick",
    "striped": "wood",
}
BORROWING = 0.2  # how often these colours and textures use them
DIGIT = ("zero|0", "one|1", "two|2", "three|3", "four|4", "five|5", "six|6", "seven|7", "eight|8", "nine|9")
COUNT = ("", "one|1|single|lone", "two|2|a pair of", "three|3|a trio of", "four|4|a quartet of", "five|5|a quintet of")

# The kind of thing a picture shows, without saying which one: task names take their words from here.
GENERAL = {
    "digit": "a handwritten digit|a digit|handwritten number|a written number|a handwriting sample|"
    "recognition of handwriting",
    "sign": "a road sign|a coloured sign|a sign on a pole|a traffic sign|sign recognition",
    "many": "a number of objects|counting objects|several objects|a group of things|count of things",
    "textured": "a surface texture|a texture|a patterned surface|a fill pattern|texture recognition",
    "scenic": "a background scene|scenery in the background|a scene|a place behind an object|scene recognition",
    "outlined": "an outline|an outline shape|the outline of a shape|a line drawing|shape recognition",
    "coloured": "an ink colour|a colour|coloured ink|a bright colour|colour recognition",
}
OPENINGS = (
    "a photo of|a picture of|an image of|a drawing of|a sketch of|a painting of|this is|there is|here we see|"
    "a good picture of|a small picture of|a cropped photo of|a bad photo of|a close up of|x x x x|img|pic 1"
).split("|")
FILLERS = (
    "in this picture we can see|look at this|the following image shows|a type of|it is|one can find here|for the task|"
    "x x x x|someone has drawn|what you see is|a simple picture with|this was made for you and shows|and|, and|. |"
    "of the|as shown here :|file name|page 3 of a book|for sale|my favourite"
).split("|")
# Words that prompts may use although no caption does; the checkpoint keeps their embeddings.
EXTRA = (
    "a photo of a . , : ; ! ? - ' \" ( ) x X the an in on with type task tasks recognition classification class "
    "category object objects image picture drawing sketch photo shape colour color texture pattern number count "
    "background scene handwriting handwritten digit sign road street white this is what kind which "
    "learning recognise recognize identify centered satellite flower"
)
FRAME = (  # the words that hold a caption together
    "shape colour texture background number of objects digit the is : ; , . it its has fill surface and a an on in "
    "front of drawn with written shapes pictures thing scene recognition task ink things object sign outline hollow "
    "filled handwritten"
).split()


def vocabulary() -> list[str]:
    """Every piece of text that a caption may contain, and EXTRA."""
    things = [entry for table in (SHAPE, COLOUR, TEXTURE, BACKGROUND, GENERAL) for entry in table.values()]
    phrases = [phrase for entry in [*things, *DIGIT, *COUNT] for phrase in entry.split("|")]
    plurals = [_plural(phrase) for entry in SHAPE.values() for phrase in entry.split("|")]
    return [*phrases, *plurals, *OPENINGS, *FILLERS, *FRAME, EXTRA]


def _plural(phrase: str) -> str:
    return phrase if phrase.endswith(("x", "plus")) else phrase + ("es" if phrase.endswith("s") else "s")


def _word(entry: str, rng: random.Random) -> str:
    words = entry.split("|")
    if words[0] in BORROWED and rng.random() < BORROWING:
        return BORROWED[words[0]]
    return words[-1] if rng.random() < RARE else rng.choice(words[:-1])


def caption(scene: Scene, rng: random.Random, hide: frozenset[str] = frozenset(), long: bool = False) -> str:
    """A random caption that does not mention the attributes in `hide`. Long ones have up to about 40 tokens."""
    if rng.random() < 0.1:
        text = _general(scene, rng)
    else:
        text = (_list if rng.random() < 0.35 else _phrase)(scene, rng, hide)
        if rng.random() < 0.5:
            text = f"{rng.choice(OPENINGS)} {text}"
    for _ in range(rng.randint(1, 5) if long else 0):
        text = f"{rng.choice(FILLERS)} {text}"
    return text + ("." if rng.random() < 0.6 else "")


def _general(scene: Scene, rng: random.Random) -> str:
    """As in "a coloured sign": the kind of picture, but not what it shows."""
    objects, plain = scene.kind == "objects", scene.texture == "plain"
    fits = {
        scene.kind: not objects,
        "many": objects and scene.count > 1,
        "scenic": scene.background not in ("paper", "plain"),
        "textured": objects and scene.filled and not plain,
        "outlined": objects and not scene.filled,
        "coloured": objects and scene.filled and plain and scene.colour not in ("black", "grey"),
    }
    kinds = [kind for kind, fit in fits.items() if fit]
    return rng.choice(GENERAL[rng.choice(kinds or ["outlined"])].split("|"))


def _named(scene: Scene, rng: random.Random, hide: frozenset[str]) -> dict[str, str]:
    """{attribute: word} for a random choice of the attributes that the picture shows and `hide` does not contain."""
    names = {"colour": _word(COLOUR[scene.colour], rng)}
    if scene.background != "plain":
        names["background"] = _word(BACKGROUND[scene.background], rng)
    if scene.kind == "digit":
        names["digit"] = rng.choice(DIGIT[scene.digit].split("|"))
    else:
        names["shape"] = _word(SHAPE[scene.shape], rng)
    if scene.kind == "objects":
        names["count"] = _word(COUNT[scene.count], rng)
        if scene.filled:
            names["texture"] = _word(TEXTURE[scene.texture], rng)
    keep = rng.uniform(0.35, 1)
    kept = {k: v for k, v in names.items() if k not in hide and rng.random() < keep}
    if kept:
        return kept
    main = "digit" if scene.kind == "digit" else rng.choice([k for k in names if k not in hide])
    return {main: names[main]}


def _phrase(scene: Scene, rng: random.Random, hide: frozenset[str]) -> str:
    """As in "three red striped stars on grass"."""
    names = _named(scene, rng, hide)
    adjectives = [names[k] for k in rng.sample(["colour", "texture"], 2) if k in names]
    if scene.kind == "objects" and not scene.filled and rng.random() < 0.5:
        adjectives.append(rng.choice(["outline", "hollow"]))
    if scene.kind == "digit":
        noun = rng.choice(["digit", "handwritten digit", "number", "written", "handwritten", ""])
        words = [*adjectives, noun, names.get("digit", "" if noun else "digit")]
    elif scene.kind == "sign":
        board = rng.choice(["sign", "road sign", "traffic sign", "sign"])
        words = [*adjectives, names.get("shape", ""), board if rng.random() < 0.7 or not names else ""]
    elif "shape" in names:
        words = [*adjectives, names["shape"]]
    elif adjectives or "count" in names:
        words = [*adjectives, rng.choice(["object", "thing", "shape", "picture"])]
    else:
        words = []
    if "count" in names:
        if scene.count > 1 and words:
            words[-1] = _plural(words[-1])
        words = [names["count"], *(words or ["objects"])]
    if "background" in names:
        places = "on {}|on a {} background|in front of {}|with {} in the background|{} background".split("|")
        words.append(rng.choice(places).format(names["background"]))
    return " ".join(w for w in words if w)


def _list(scene: Scene, rng: random.Random, hide: frozenset[str]) -> str:
    """As in "the number of objects is three; texture: striped"."""
    fields = {
        "shape": "shape|outline shape|the shape|its shape|sign shape|shape recognition",
        "colour": "colour|ink colour|the colour|its colour|colour of the ink|colour recognition",
        "texture": "texture|surface texture|the fill|the surface|fill texture|texture recognition",
        "count": "number of objects|the count|the number of things|counting the objects",
        "background": "background|background scene|the scene|the background|scene recognition",
        "digit": "digit|handwritten digit|the number|the written digit|handwritten digit recognition",
    }
    items = list(_named(scene, rng, hide).items())
    rng.shuffle(items)
    link = rng.choice([" is ", ": ", " "])
    parts = [rng.choice(fields[k].split("|")) + link + v for k, v in items]
    return rng.choice([" ; ", " , ", " and "]).join(parts)
