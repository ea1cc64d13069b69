"""How good a folder of made pictures is, by the paper's metrics and by better ones."""
