"""Environments in processes of their own: whatever becomes of one of them, the run goes on.

A worker that hangs, dies or raises is killed, and another one made in its place; nothing of its channel is used again.
Observations and actions stand in memory that both share and that has no name, and replies are read by a schema: what a
worker says is never unpickled. Nothing of agents, of windows, or of the process that trains belongs here.
"""
