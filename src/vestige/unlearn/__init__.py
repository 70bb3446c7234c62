"""Unlearning: losses, methods, and enhancements that wrap them."""

from vestige.unlearn.enhance import widen
from vestige.unlearn.methods import METHODS, Method

__all__ = ["METHODS", "Method", "widen"]
