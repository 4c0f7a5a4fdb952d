"""One experiment, stage by stage, without an orchestrator.

`experiment`: the configuration; `compare` and `confirm`: the graphs of calls; `runs`: what they give; `stages/`: what
they call; `cache`: how a stage's result is reused; `records`: what passes between stages; `validate`, `planning`:
before a run starts.
"""
