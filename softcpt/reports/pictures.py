"""Pictures as PNG files and as data: URLs, which a page can contain. Their texts are names, never mathematics."""

import base64
import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image


def png(figure: Figure, dpi: int = 130) -> bytes:
    """A figure as a PNG file's content; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with rc_context({"text.parse_math": False}):  # for the texts that drawing makes, such as those of ticks
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as the content of a PNG or JPEG file; `options` are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def data_url(content: bytes, kind: str = "png") -> str:
    """The content of a PNG or JPEG file as a data: URL."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()
