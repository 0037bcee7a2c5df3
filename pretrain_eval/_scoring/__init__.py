"""FACE _scoring."""
