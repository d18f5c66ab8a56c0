"""The mathematics of single methods, as modules and functions of tensors. Imports only the files beside the rooms."""
