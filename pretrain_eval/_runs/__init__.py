"""FACE _runs."""
