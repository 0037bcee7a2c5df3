"""FACE _scoring/formulas."""
