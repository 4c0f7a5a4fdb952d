"""Network building blocks: layers, norms, losses, penalties, augmentation, weight averages. Know no generator family."""
