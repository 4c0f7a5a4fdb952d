"""Estimators in the manner of scikit-learn and imbalanced-learn, and the comparison of arrays."""
