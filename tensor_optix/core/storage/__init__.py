"""STORES: snapshots, resume points and their folders; a save is atomic and survives a crash at any instruction.

Doors, `loop` and `evolution` may write through it; it imports `support` and the types of `core`.
Decisions, the loop and anything that unpickles never come in.
"""
