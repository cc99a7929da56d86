"""Many runs as one job: several seeds of a run, a population that learns side by side, a search for hyper-parameters.

What lives here: the folders of such jobs, what their workers run, and the last test over all.
Any executor runs them, with the same results.
What never comes in: a decision on one run, which its own loop takes.
"""
