"""Parts of networks: blocks, losses, augmentation, averages. Pure; blind to families."""
