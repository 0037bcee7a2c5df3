"""The metrics, one file a family."""
