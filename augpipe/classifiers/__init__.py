"""The classifiers that arms train, which the comparison scores.

`options`: what a config can set; `plans` and `mixing`: how many synthetic images, and how often each is drawn;
`models`, `losses`, `transforms`: what is trained; `train`: the training loop; `search`: the share that val chooses;
`scores`: metrics on val and test.
"""
