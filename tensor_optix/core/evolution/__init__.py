"""EVOLVES: the members of an ensemble, their variants, and the answer to what follows when a learner has ended.

`policy_manager` and `ensemble_agent` are its doors; it imports `decisions`, `storage` and the contracts.
The loop never comes in: it asks, and executes the answer.
"""
