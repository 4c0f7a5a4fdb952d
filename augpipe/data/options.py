"""Options of the intake and the split; options of sources and imbalance profiles are in `sources/` and `imbalance`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from augpipe.core.schema import Strict, refuse_changed

OnBad = Literal["quarantine", "fail"]
Duplicates = Literal["exact", "near", "once", "keep"]
Kind = Literal["auto", "official", "stratified", "grouped", "k_fold"]


class Policy(Strict):
    """What happens to files that cannot be used, to duplicates, and to tiny classes."""

    on_bad: OnBad = "quarantine"
    """Files that cannot be used: `quarantine` lists them and goes on while they are at most 5% of all files; `fail`
    stops at the first."""

    duplicates: Duplicates = "exact"
    """Duplicates across train, val and test. `exact`: equal images are removed from train (if also in val or test) and
    from val (if also in test), nearly equal ones are counted and reported; `near`: also nearly equal ones are removed,
    mirrored, shifted and cropped copies included; `once`: as `exact`, and equal images within train, val or test;
    `keep`: nothing is removed or counted."""

    min_images: int = Field(default=1, ge=1)
    """Classes with fewer images than this are left out, with a message."""


class SplitOptions(Strict):
    """How images are divided into train, val and test."""

    kind: Kind = "auto"
    """`official`: the source's own split; what it lacks is drawn from its train. `stratified`: fractions of each class.
    `grouped`: the same by whole groups (patient, identity). `k_fold`: test is fold `fold`, val the next one. `auto`:
    official if the source has a split, else grouped if it has groups, else stratified."""

    val: float = Field(default=0.2, gt=0, lt=1)
    """Fraction of each class that is val; not with `k_fold`."""

    test: float = Field(default=0.2, gt=0, lt=1)
    """Fraction of each class that is test; train is the rest. Not with `k_fold`."""

    folds: int = Field(default=5, ge=3)
    """Number of folds of `k_fold`."""

    fold: int = Field(default=0, ge=0)
    """The fold of `k_fold` that is test, from 0."""

    allow_torn_groups: str = ""
    """Why groups may be divided between train, val and test, as an official split or `stratified` may do. Without a
    reason such a split is an error: images of one patient in train and test make scores too high."""

    seed: int = Field(default=0, ge=0)
    """Seed of the split. All arms and seeds share one split unless `resplit` is set."""

    @model_validator(mode="after")
    def _room_for_train(self) -> SplitOptions:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val} and test {self.test} leave no images for train: their sum must be below 1"
            )
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}; choose from 0 to {self.folds - 1}")
        return self

    @model_validator(mode="after")
    def _options_have_effect(self) -> SplitOptions:
        unused = ("val", "test") if self.kind == "k_fold" else ("fold", "folds")
        advice = "set split={kind: k_fold}" if self.kind == "k_fold" else "set kind: k_fold"
        refuse_changed(self, unused, f"with kind: {self.kind}; {advice}, or remove it")
        return self
