"""Importing this module makes `import dassl` work, as `compat.ensure_dassl` does."""

from . import ensure_dassl

ensure_dassl()
