"""The papers' image experiments as named studies: grids with presets, the claims they can bear out or not, and how
a study is carried out."""

from vestige.studies.claims import METHOD_STAGES, Claim, judge
from vestige.studies.grids import STUDIES, changed, changes, command, configure, open_laboratory
from vestige.studies.record import result
from vestige.studies.running import Place, adopt, carry_out, conduct, failures

__all__ = [
    "METHOD_STAGES", "STUDIES", "Claim", "Place", "adopt", "carry_out", "changed", "changes", "command", "conduct",
    "configure", "failures", "judge", "open_laboratory", "result",
]  # fmt: skip
