"""Language studies: tune, unlearn one target at a time, ask, and compare (paper, 3.4; E3–E5)."""

from vestige.language.laboratory import TextLaboratory
from vestige.language.runs import plan
from vestige.language.studies import STUDIES, configure, open_laboratory, result

__all__ = ["STUDIES", "TextLaboratory", "configure", "open_laboratory", "plan", "result"]
