"""Orchestration: the only package that imports Prefect and MLflow.

`entry` and `cli`: the command, a `cli_*` file a subcommand; `compare`, `train`, `balance`, `refresh`: the flows;
`tasks`: the one task; `engine`, `server`, `workers`: Prefect's server and processes of a run; `follow`, `board`:
progress; `tracking/`: MLflow; `failures`, `exits`: what an error ends.
"""
