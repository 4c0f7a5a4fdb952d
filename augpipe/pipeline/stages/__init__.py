"""The stages of an experiment: load by Ref, call the library, store, return a record. No stage knows who runs it."""
