"""A deletion request, from what repeats the records to a verdict on each and a gate.

`request` reads the file. `subject`: what is audited, with `images`, `texts` and `own`, the user's code. `find`,
`foresee`, `steps`: what is done, step by step. `verdict`: the rule. `gate`: what must hold. `folder`: one request after
the other. `conduct` joins them; `check` computes a report again.
"""

STEPS = ("find", "foresee", "forget", "verify", "report")
"""In this order; `--until` stops after one of them. The gate reads the report."""
