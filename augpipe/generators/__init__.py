"""Class-conditional generators, one file per family in `models/`, and the training loop that all share.

`protocol`: what a family must do; `fit`: the loop, with `ticks` and `diversity`; base classes: `networks`, of
what trains networks, `latents`, of what decodes latents, `adversarial`, of GANs; `interpolation`: points between codes;
`families`: a family by its name; `per_class`: one model a class; `preview`: options without importing torch.
"""
