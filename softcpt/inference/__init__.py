"""Exported classifiers, independent of the methods that trained them.

    from softcpt import load_classifier
    classifier = load_classifier("model.safetensors")
    classifier.predict(["a.jpg", "b.jpg"], task="bird species recognition")

Needs the exported file and the weights of its CLIP. Imports neither Dassl nor the trainers.
See docs/inference.md.
"""

from .classifier import Classifier, load_classifier
from .exports import Export, read_export, write_export

__all__ = ["Classifier", "Export", "load_classifier", "read_export", "write_export"]
