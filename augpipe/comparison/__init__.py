"""Is an arm better, and how sure is that: from scores and predictions to verdicts.

`verdict`: the explore stage, all arms against a reference (`bootstrap`, `resampled`); `finalists`, `confirm`, `paired`:
the confirm stage, one hypothesis on fresh replicates; `metrics`: what is compared; `promotion`: whether a new model
replaces the one in service.
"""
