"""Text beside images: readers, encoders and lexical similarity. Studies of language are not there yet."""

from vestige.text.data import Record, columns, load, records, texts
from vestige.text.encode import ENCODERS, encode
from vestige.text.lexical import lexical

__all__ = ["ENCODERS", "Record", "columns", "encode", "lexical", "load", "records", "texts"]
