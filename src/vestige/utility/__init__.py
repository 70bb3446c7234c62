"""What a language model is still good for: multiple choice, perplexity, tasks by name; before and after."""

from vestige.utility.ask import ask, check, check_room, pack, source, unpack
from vestige.utility.compare import Found, change, measures, per_token
from vestige.utility.tell import tell

__all__ = ["Found", "ask", "change", "check", "check_room", "measures", "pack", "per_token", "source", "tell", "unpack"]
