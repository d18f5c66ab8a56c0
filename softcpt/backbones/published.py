"""Names of CLIPs that mean the same model everywhere, so that a file may say them."""

import re

from . import hub, open_clip_files, openai
from .weights import PROJECT_ROOT, sha256_of

DEMO = PROJECT_ROOT / "scripts" / "demo"  # holds the demo's CLIPs


def published(name: str, sha256: str) -> str:
    """A name for `load_clip` that does not depend on the files of this machine; "" if there is none.

    Args:
        name: as in a run's config. Legal are OpenAI's, open_clip:ARCHITECTURE/TAG and hf-hub:OWNER/MODEL; also
            OWNER/MODEL if the hub's cache holds it, since it may have been a folder of another machine.
        sha256: of the CLIP's file: a copy of one of OpenAI's or of the demo's CLIPs is found whatever `name` is.

    Raises ValueError for a model of open_clip without that package.
    """
    if name in openai.FILES:
        return name
    inner = name.removeprefix(open_clip_files.PREFIX)
    if inner.startswith(hub.HUB) and hub.is_repo(inner) or name != inner and _is_tag(inner):
        return name
    if sha256 in openai.PUBLISHED:
        return openai.PUBLISHED[sha256]
    spelling = re.search(rf"@({'|'.join(openai.SPELLINGS)})$", name)
    if hub.is_cached(name):
        return hub.HUB + name
    demo = [path for path in sorted(DEMO.glob("*.npz")) if sha256_of(path) == sha256]
    return f"{demo[0]}{spelling[0] if spelling else ''}" if demo else ""


def _is_tag(name: str) -> bool:
    return bool(re.fullmatch(hub.REPO, name)) and open_clip_files.is_tag(name)
