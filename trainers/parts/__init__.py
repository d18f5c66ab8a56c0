"""The mathematics of single methods, as modules and functions of tensors."""
