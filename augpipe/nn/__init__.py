"""Network building blocks, independent of generator families: layers, norms, losses, penalties, augmentation, EMA."""
