"""Bridges to other libraries, one module each.

Each imports its library; importing `pretrain_eval` imports none of them.
"""
