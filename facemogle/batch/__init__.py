"""Many pictures from a list of jobs: read and checked whole, made by workers, written whole, told of in a manifest."""
