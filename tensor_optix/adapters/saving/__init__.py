"""How an agent writes and reads weights and training state: safetensors and JSON.

Only `adapters` and `algorithms` use it. Frameworks never come in: backends hand over named numpy arrays.
"""
