"""Models: a spec, an initialization, a forward pass. A new model is a file here."""
