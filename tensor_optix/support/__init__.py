"""Helpers without a domain: checks of arguments, arrays in JSON, schemas, optional imports, memory, redaction, signals.

Anyone may import them. They import nothing of ours but `errors`.
What knows a window, a score or a policy never comes in.
"""
