"""The same as `python -m pretrain_eval`."""
