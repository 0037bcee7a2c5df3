"""FACE _steps."""
