"""The five protocols, one a file."""
