"""Environments: making them, checking their steps, their episodes and spaces. Only pipelines use this room.

It touches Gymnasium. Feeds and learning never come in.
"""
