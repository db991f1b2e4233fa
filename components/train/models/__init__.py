"""The models that can be trained: a file each, and the registry that names them."""
