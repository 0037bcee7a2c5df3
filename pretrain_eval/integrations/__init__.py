"""Step metrics inside of other frameworks' loops, one module a framework.

Each module imports its framework; importing the library imports none.
"""
