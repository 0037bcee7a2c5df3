"""FACE _metrics/predictions."""
