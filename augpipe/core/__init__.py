"""What everything stands on and knows no image task: store, files, fingerprints, seeds, device, errors.

`images` and `image_folders`: image sets in memory and on disk; `store` and `refs`: where results are kept, and
references to them; `schema`, `registry`: how a configuration becomes objects; `distributed`, `team`: one training in
several processes.
"""
