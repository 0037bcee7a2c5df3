"""The version that the package was released as."""

__version__ = "0.1.0"
