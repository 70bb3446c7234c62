"""vestige finds, measures and removes what similar samples leave behind when a model is asked to forget."""

__version__ = "0.2.0"
