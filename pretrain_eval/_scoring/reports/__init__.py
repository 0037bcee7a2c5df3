"""FACE _scoring/reports."""
