"""FACE _sweep."""
