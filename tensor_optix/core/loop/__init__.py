"""ACTS: collects, learns, scores, executes what was decided, and records it. It is set up by `loop_controller`.

Only `loop_controller` and the facade use it; it imports `decisions`, `storage` and the contracts.
Frameworks, environments and evolution never come in.
"""
