"""FACE _training."""
