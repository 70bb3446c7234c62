"""What a language model is still good for: multiple choice, perplexity, tasks by name; before and after."""

from vestige.utility.ask import ask, check, check_room, pack, source, unpack
from vestige.utility.compare import Found, change, measures, per_token

__all__ = ["Found", "ask", "change", "check", "check_room", "measures", "pack", "per_token", "source", "unpack"]
