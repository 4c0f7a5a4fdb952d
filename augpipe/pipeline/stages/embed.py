"""The feature extractor of an experiment, for the stages that check and measure images."""

from __future__ import annotations

from augpipe.classifiers import trained as trained_classifier
from augpipe.core.device import Runtime
from augpipe.core.refs import Ref
from augpipe.core.store import Store, load_state
from augpipe.synthetic.embeddings import FeatureExtractor
from augpipe.synthetic.extractors import extractor


def feature_extractor(reference: Ref, features: str, runtime: Runtime, store: Store | None) -> FeatureExtractor:
    """The reference classifier and the chosen features; store: where embeddings are cached, None for nowhere."""
    classifier = trained_classifier.from_state(load_state(reference), runtime)
    return FeatureExtractor(classifier, runtime, extractor(features, runtime), store)
