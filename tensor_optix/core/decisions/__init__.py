"""DECIDES: pure functions over frozen values. The same input always gives the same answer.

Anyone may import them; they import `support` and the types of `core`.
Files, clocks, agents, pipelines and mutable state of a run never come in.
"""
