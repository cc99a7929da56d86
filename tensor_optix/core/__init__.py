"""The core: the doors that users import, and four rooms: `decisions`, `storage`, `loop`, `evolution`.

It imports numpy, the standard library, `filelock` and `msgspec`. Frameworks and Gymnasium never come in.
"""
