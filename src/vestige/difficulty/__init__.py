"""How hard each sample is to unlearn: measured, explained, predicted."""

from vestige.difficulty.laboratory import Laboratory, open_laboratory
from vestige.difficulty.study import conduct, configure, failures

__all__ = ["Laboratory", "conduct", "configure", "failures", "open_laboratory"]
