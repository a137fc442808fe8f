"""How the encoder is learned: files -> views -> encoder -> scores -> objective -> checkpoint."""
