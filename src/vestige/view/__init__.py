"""All runs of a folder as pages: an index, run pages, samples, comparisons; served on this machine or written out."""

from vestige.view.export import export
from vestige.view.server import serve
from vestige.view.site import Site

__all__ = ["Site", "export", "serve"]
